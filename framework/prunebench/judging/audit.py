"""The checklist of a sound pruning evaluation, held against what a run stored.

Points 1 to 13 are those of Blalock et al. (2020); the rest comes from later papers, named at each. A point is
satisfied, partly satisfied, missing or does not apply; what is missing comes with the grid lines that would supply it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prunebench.judging.facts import Facts, facts_of
from prunebench.judging.titles import worded

Status = Literal["satisfied", "partly", "missing", "does not apply"]
TOY_DATASETS = ("mnist", "digits", "letters", "toy")  # parts of names: MNIST and its kin do not count as a data set
CURVE = [2, 4, 8, 16, 32]


@dataclass(frozen=True)
class Point:
    """One line of the checklist."""

    number: int
    title: str
    status: Status
    found: str
    mend: str = ""  # lines for the grid, or what else to do


def audit(path: Path | str, run_id: str) -> list[Point]:
    """The checklist over the trials that the run's grid asked for, in order; raises where there is no such run."""
    facts = facts_of(path, run_id)
    return [
        Point(number, title if judge is _top5 else worded(title, facts.titles), *judge(facts))
        for number, (title, judge) in enumerate(CHECKLIST, 1)
    ]


Judged = tuple[Status, str, str]


def _names(facts: Facts) -> Judged:
    found = "; ".join(f"{pair['model_label']} on {pair['dataset_label']}" for pair in facts.pairs)
    return ("satisfied", found, "") if found else ("missing", "no trial ended ok", "")


def _several_pairs(facts: Facts) -> Judged:
    grown = [pair for pair in facts.pairs if not any(toy in pair["dataset"] for toy in TOY_DATASETS)]
    found = f"{len(facts.pairs)} pairs, {len(grown)} of them beyond MNIST and its kin"
    fix = '[[block]]\ndataset = "imagenet"\nmodel   = "resnet50"  # three such pairs'
    return _graded(len(grown), 3, found, fix)


def _both_ratios(facts: Facts) -> Judged:
    t = facts.totals
    found = f"compression ratio for {t['pruned'] - t['without_compression']} of {t['pruned']} pruned trials, "
    found += f"theoretical speedup for {t['pruned'] - t['without_theory']}"
    return _shared(t["pruned"], t["without_compression"] + t["without_theory"], found, "let the grid run `dense` too")


def _top5(facts: Facts) -> Judged:
    t = facts.totals
    if not t["with_top5"]:
        return "does not apply", "top-5 is stored only for classification with more than five classes", ""
    found = f"top-5 for {t['with_top5']} of {t['classified']} trials"
    return _shared(t["classified"], t["classified"] - t["with_top5"], found + " of classification", "")


def _curves(facts: Facts) -> Judged:
    short = [cell for cell in facts.subjects if cell["operating_points"] < 5]
    found = f"{len(facts.subjects) - len(short)} of {len(facts.subjects)} curves have five operating points or more"
    uses = sorted({cell["method"] for cell in short})
    fix = "\n".join(f'{{ use = "{use}", compression = {CURVE} }},' for use in uses if " > " not in use)
    return _shared(len(facts.subjects), len(short), found, fix)


def _raw_accuracy(facts: Facts) -> Judged:
    t = facts.totals
    found = f"dense accuracy beside {t['pruned'] - t['without_dense']} of {t['pruned']} pruned trials"
    found = worded(found, facts.titles)
    return _shared(t["pruned"], t["without_dense"], found, '{ use = "dense" },')


def _same_weights(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['same']} of {t['compared']} pruned trials made from exactly the dense network they are compared with"
    return _shared(
        t["compared"], t["compared"] - t["same"], found, "run the dense and pruned trials with one checkpoint folder"
    )


def _seeds(facts: Facts) -> Judged:
    few = [cell for cell in facts.subjects if cell["seeds"] < 3]
    least = min((cell["seeds"] for cell in facts.subjects), default=0)
    found = (
        f"{least} seeds at least; {len(facts.subjects) - len(few)} of {len(facts.subjects)} curves have three or more"
    )
    return _shared(len(facts.subjects), len(few), found, "seed = { range = [0, 3] }")


def _random_controls(facts: Facts) -> Judged:
    return _controls(facts, ("random", "random_matched"), '{ use = "random", keep = [0.5, 0.2, 0.1, 0.05] },\n'
                     '{ use = "random_matched", keep = [0.5, 0.2, 0.1, 0.05] },')  # fmt: skip


def _magnitude_controls(facts: Facts) -> Judged:
    scopes = {s for cell in facts.cells if cell["method"] == "magnitude" for s in (cell["scopes"] or "").split(",")}
    found = f"magnitude pruning with scope {', '.join(sorted(scopes - {''})) or 'none'}"
    fix = '{ use = "magnitude", scope = ["global", "layer"], keep = [0.5, 0.2, 0.1, 0.05] },'
    return _graded(len(scopes & {"global", "layer"}), 2, found, fix)


def _described(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['protocols']} protocols in full, {t['described']} of {t['environments']} machines described"
    found += f" ({t['machines']})"
    return _shared(t["environments"], t["environments"] - t["described"], found, "")


def _same_protocol(facts: Facts) -> Judged:
    mixed = [pair for pair in facts.pairs if pair["protocols"] > 1]
    found = f"one protocol in {len(facts.pairs) - len(mixed)} of {len(facts.pairs)} pairs of data set and model"
    return _shared(len(facts.pairs), len(mixed), found, "put all methods of a pair into one grid, under one [protocol]")


def _measured(facts: Facts) -> Judged:
    t = facts.totals
    found = f"measured speedup for {t['pruned'] - t['without_speedup']} of {t['pruned']} pruned trials"
    return _shared(t["pruned"], t["without_speedup"], found, "latency = { batch = [1, 64] }  # under [protocol]")


def _scratch(facts: Facts) -> Judged:
    found = sorted(name for name in facts.methods if "scratch" in name)
    controls = {c for cell in facts.cells for c in (cell["controls"] or "").split(",")}
    found += ["lottery_ticket with new weights"] if "reinitialise" in controls else []
    fix = '{ use = "lottery_ticket", control = ["none", "reinitialise"], keep = [0.2, 0.1] },'
    return _any(found, "the pruned shape trained from scratch", fix)


def _retraining(facts: Facts) -> Judged:
    modes = {m for cell in facts.cells for m in (cell["rewinds"] or "").split(",")} - {""}
    if facts.totals["epochs"] != "0" and facts.totals["epochs"]:
        modes.add("fine-tuning")
    fix = '{ use = "lottery_ticket", rewind = ["weights", "lr", "none"], keep = [0.2, 0.1] },'
    return _graded(len(modes), 3, f"retraining by {', '.join(sorted(modes)) or 'nothing'}", fix)


def _sanity(facts: Facts) -> Judged:
    controls = {c for cell in facts.cells for c in (cell["controls"] or "").split(",")} & {"shuffle", "reinitialise"}
    fix = '{ use = "lottery_ticket", control = ["none", "shuffle", "reinitialise"], keep = [0.2, 0.1] },'
    return _graded(len(controls), 2, f"controls: {', '.join(sorted(controls)) or 'none'}", fix)


def _tuning(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['recipes']} fine-tuning recipes: epochs {t['epochs']}, learning rate {t['rates']}"
    fix = "finetune = { epochs = 10, lr = 1e-4 }  # one for all, under [protocol]"
    return ("satisfied", found, "") if t["recipes"] == 1 else ("partly", found, fix)


def _beyond_accuracy(facts: Facts) -> Judged:
    metrics = facts.totals["metrics"] or ""
    found = [
        name for name in metrics.split(", ") if any(part in name for part in ("corrupt", "shift", "distance", "logit"))
    ]
    return _any(
        found,
        worded("metrics beyond test accuracy", facts.titles),
        "a plugin that measures shifted data or distance to the dense network",
    )


def _cost(facts: Facts) -> Judged:
    t = facts.totals
    found = f"seconds of pruning for {t['pruned'] - t['without_prune_seconds']} of {t['pruned']} pruned trials"
    return _shared(t["pruned"], t["without_prune_seconds"], found, "")


def _random_at_start(facts: Facts) -> Judged:
    found = [c for cell in facts.cells for c in (cell["controls"] or "").split(",") if c == "random"][:1]
    fix = '{ use = "lottery_ticket", control = ["none", "random"], keep = [0.2, 0.1] },'
    return _any(found, "random masks trained from the start", fix)


def _decompositions(facts: Facts) -> Judged:
    t = facts.totals
    if not t["ranked"]:
        return "does not apply", "no layer was decomposed", ""
    found = f"rank of {t['ranked']} layers, error of {t['with_error']}, {t['left_alone']} left alone with their reason"
    return _shared(t["ranked"], t["bare"], found, "")


def _latency(facts: Facts) -> Judged:
    t = facts.totals
    found = (
        f"{t['measured']} paired measurements ({t['with_samples']} with raw samples, {t['with_floor']} with a floor), "
    )
    found += f"{t['batches']} batch sizes, {t['dtypes'] or 'no number format'}, {t['devices'] or 'no device'}"
    if not t["measured"]:
        return "missing", found, "latency = { batch = [1, 64] }  # under [protocol]"
    bare = 2 * t["measured"] - t["with_samples"] - t["with_floor"]
    return _shared(2 * t["measured"], bare, found, '{ use = "dense" },  # timed against its own copy')


def _controls(facts: Facts, names: Iterable[str], fix: str) -> Judged:
    found = [name for name in names if name in facts.methods]
    return _graded(len(found), 2, f"controls: {', '.join(found) or 'none'}", fix)


def _any(found: list[str], what: str, fix: str) -> Judged:
    return ("satisfied", f"{what}: {', '.join(found)}", "") if found else ("missing", f"not found: {what}", fix)


def _graded(count: int, wanted: int, found: str, fix: str) -> Judged:
    if count >= wanted:
        return "satisfied", found, ""
    return ("partly" if count else "missing"), found, fix


def _shared(whole: int, lacking: int, found: str, fix: str) -> Judged:
    """Satisfied where nothing is lacking, missing where everything is."""
    if not whole:
        return "missing", found, fix
    return ("satisfied", found, "") if lacking <= 0 else ("missing" if lacking >= whole else "partly", found, fix)


CHECKLIST: tuple[tuple[str, Callable[[Facts], Judged]], ...] = (
    ("exact names of architecture, data set and metric", _names),
    ("three pairs of data set and architecture, MNIST not counted", _several_pairs),
    ("compression ratio and theoretical speedup, both", _both_ratios),
    ("top-1 and top-5 accuracy", _top5),
    ("a whole trade-off curve: five operating points or more", _curves),
    ("raw accuracy at each point, and the dense network's", _raw_accuracy),
    ("the same initial weights for all methods", _same_weights),
    ("several seeds, with their spread", _seeds),
    ("random pruning as a control, also with the method's layer shares", _random_controls),
    ("magnitude pruning as a control, global and by layer", _magnitude_controls),
    ("recipe, libraries and hardware stated", _described),
    ("the same protocol for all methods", _same_protocol),
    ("latency measured, not inferred", _measured),
    ("the pruned shape trained from scratch (Liu et al., 2019)", _scratch),
    ("fine-tuning, weight and learning-rate rewinding (Renda et al., 2020)", _retraining),
    ("shuffled masks and new weights as controls (Frankle et al., 2021)", _sanity),
    ("one stated fine-tuning rate (Wang et al., 2023)", _tuning),
    ("more than test accuracy (Liebenwein et al., 2021)", _beyond_accuracy),
    ("what pruning itself costs (PruningBench, 2024)", _cost),
    ("random masks from the start (Liu et al., 2022)", _random_at_start),
    ("of decompositions: rank, error, layers left alone", _decompositions),
    ("of latency: device, batch, number format, raw samples, dense in pairs", _latency),
)
