"""The checklist of a sound pruning evaluation, held against what a run stored.

Points 1 to 13 are those of Blalock et al. (2020); the rest comes from later papers, named at each. A point is
satisfied, partly satisfied, missing or does not apply; what is missing comes with the grid lines that would supply it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prunebench.errors import QueryError
from prunebench.store.sealed import sealed_queries

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


@dataclass(frozen=True)
class Facts:
    """What the run's own trials say, queried once."""

    totals: dict[str, Any]
    cells: list[dict[str, Any]]  # a data set, model and method each
    pairs: list[dict[str, Any]]  # a data set and model each

    @property
    def methods(self) -> set[str]:
        """Names of the methods with results."""
        return {cell["method"] for cell in self.cells}

    @property
    def subjects(self) -> list[dict[str, Any]]:
        """Cells that are no controls: what the run is about."""
        return [cell for cell in self.cells if not cell["is_control"]]


SQL = {
    "totals": """
        select
            count(*) as trials, count(*) filter (not is_dense) as pruned,
            count(*) filter (not is_dense and dense_top1_accuracy is null) as without_dense,
            count(*) filter (not is_dense and compression_ratio is null) as without_compression,
            count(*) filter (not is_dense and theoretical_speedup is null) as without_theory,
            count(*) filter (not is_dense and speedup is null) as without_speedup,
            count(*) filter (not is_dense and prune_seconds is null) as without_prune_seconds,
            count(top5_accuracy) as with_top5, count(distinct protocol_id) as protocols,
            count(*) filter (not realised and not is_dense) as masked
        from trials where status = 'ok'
    """,
    "weights": """
        select count(*) as compared, count(*) filter (same_weights) as same, count(mcnemar_p) as tested from comparison
    """,
    "latency": """
        select
            count(*) as measured, count(*) filter (block_count > 1) as with_samples,
            count(*) filter (floor is not null) as with_floor, count(distinct batch) as batches,
            string_agg(distinct device, ', ') as devices, string_agg(distinct dtype, ', ') as dtypes
        from speedups where not is_dense
    """,
    "layers": """
        select
            count(*) as layers, count(layer_rank) as ranked, count(weight_error) as with_error,
            count(left_alone) as left_alone, count(*) filter (layer_rank is not null and weight_error is null) as bare
        from layers
    """,
    "provenance": """
        select
            count(*) as environments, count(*) filter (cpu <> '' and torch <> '') as described,
            (select count(*) from provenances where plugins is not null) as with_plugins,
            string_agg(distinct coalesce(nullif(gpu, ''), cpu), ', ') as machines
        from environments where trial_count > 0
    """,
    "metrics": "select string_agg(distinct metric, ', ') as metrics from metrics",
    "tunes": """
        select
            count(distinct json_extract_string(settings, '$.finetune')) as recipes,
            string_agg(distinct json_extract_string(settings, '$.finetune.lr'), ', ') as rates,
            string_agg(distinct json_extract_string(settings, '$.finetune.epochs'), ', ') as epochs
        from protocols where protocol_id in (select protocol_id from trials)
    """,
    "cells": """
        select
            dataset_label, any_value(dataset) as dataset, model_label, method, count(distinct method_label) as settings,
            min(seed_count) as seeds, min(compression_ratio) as least, max(compression_ratio) as most,
            max(accuracy_drop) as worst_drop, bool_or(is_control) as is_control,
            count(distinct round(ln(compression_ratio), 2)) as operating_points,
            string_agg(distinct params ->> '$.scope', ',') as scopes,
            string_agg(distinct params ->> '$.rewind', ',') as rewinds,
            string_agg(distinct params ->> '$.control', ',') as controls
        from trial_means group by dataset_label, model_label, method order by all
    """,
    "pairs": """
        select
            dataset_label, any_value(dataset) as dataset, model_label, count(distinct protocol_id) as protocols
        from trials where status = 'ok' group by dataset_label, model_label order by all
    """,
}


def audit(path: Path | str, run_id: str) -> list[Point]:
    """The checklist over the trials that the run's grid asked for, in order; raises where there is no such run."""
    answers = sealed_queries(path, list(SQL.values()), run=run_id)
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, answer in zip(SQL, answers, strict=True):
        if answer.error:
            raise QueryError(answer.error)
        tables[name] = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    single = [tables[name][0] for name in SQL if name not in ("cells", "pairs")]
    totals = {key: value for row in single for key, value in row.items()}
    facts = Facts(totals, tables["cells"], tables["pairs"])
    return [
        Point(number, title, *judge(facts)) for number, (title, judge) in enumerate(CHECKLIST, start=1)
    ]


Judged = tuple[Status, str, str]


def _names(facts: Facts) -> Judged:
    found = "; ".join(f"{pair['model_label']} on {pair['dataset_label']}" for pair in facts.pairs)
    return ("satisfied", found, "") if found else ("missing", "no trial ended ok", "")


def _several_pairs(facts: Facts) -> Judged:
    grown = [pair for pair in facts.pairs if not any(toy in pair["dataset"] for toy in TOY_DATASETS)]
    found = f"{len(facts.pairs)} pairs, {len(grown)} of them beyond MNIST and its kin"
    mend = '[[block]]\ndataset = "imagenet"\nmodel   = "resnet50"  # three such pairs'
    return _graded(len(grown), 3, found, mend)


def _both_ratios(facts: Facts) -> Judged:
    t = facts.totals
    found = f"compression ratio for {t['pruned'] - t['without_compression']} of {t['pruned']} pruned trials, "
    found += f"theoretical speedup for {t['pruned'] - t['without_theory']}"
    return _shared(t["pruned"], t["without_compression"] + t["without_theory"], found, "let the grid run `dense` too")


def _top5(facts: Facts) -> Judged:
    t = facts.totals
    if not t["with_top5"]:
        return "does not apply", "top-5 is kept with more than five classes only", ""
    return _shared(t["trials"], t["trials"] - t["with_top5"], f"top-5 for {t['with_top5']} of {t['trials']} trials", "")


def _curves(facts: Facts) -> Judged:
    short = [cell for cell in facts.subjects if cell["operating_points"] < 5]
    found = f"{len(facts.subjects) - len(short)} of {len(facts.subjects)} curves have five operating points or more"
    uses = sorted({cell["method"] for cell in short})
    mend = "\n".join(f'{{ use = "{use}", compression = {CURVE} }},' for use in uses if " > " not in use)
    return _shared(len(facts.subjects), len(short), found, mend)


def _raw_accuracy(facts: Facts) -> Judged:
    t = facts.totals
    found = f"dense accuracy beside {t['pruned'] - t['without_dense']} of {t['pruned']} pruned trials"
    return _shared(t["pruned"], t["without_dense"], found, '{ use = "dense" },')


def _same_weights(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['same']} of {t['compared']} pruned trials made from exactly the dense network they are compared with"
    return _shared(t["compared"], t["compared"] - t["same"], found, "run the dense and pruned trials with one checkpoint folder")


def _seeds(facts: Facts) -> Judged:
    few = [cell for cell in facts.subjects if cell["seeds"] < 3]
    least = min((cell["seeds"] for cell in facts.subjects), default=0)
    found = f"{least} seeds at least; {len(facts.subjects) - len(few)} of {len(facts.subjects)} curves have three or more"
    return _shared(len(facts.subjects), len(few), found, "seed = { range = [0, 3] }")


def _random_controls(facts: Facts) -> Judged:
    return _controls(facts, ("random", "random_matched"), '{ use = "random", keep = [0.5, 0.2, 0.1, 0.05] },\n'
                     '{ use = "random_matched", keep = [0.5, 0.2, 0.1, 0.05] },')  # fmt: skip


def _magnitude_controls(facts: Facts) -> Judged:
    scopes = {s for cell in facts.cells if cell["method"] == "magnitude" for s in (cell["scopes"] or "").split(",")}
    found = f"magnitude pruning with scope {', '.join(sorted(scopes - {''})) or 'none'}"
    mend = '{ use = "magnitude", scope = ["global", "layer"], keep = [0.5, 0.2, 0.1, 0.05] },'
    return _graded(len(scopes & {"global", "layer"}), 2, found, mend)


def _described(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['protocols']} protocols in full, {t['described']} of {t['environments']} machines described ({t['machines']})"
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
    mend = '{ use = "lottery_ticket", control = ["none", "reinitialise"], keep = [0.2, 0.1] },'
    return _any(found, "the pruned shape trained from scratch", mend)


def _retraining(facts: Facts) -> Judged:
    modes = {m for cell in facts.cells for m in (cell["rewinds"] or "").split(",")} - {""}
    if "0" != facts.totals["epochs"] and facts.totals["epochs"]:
        modes.add("fine-tuning")
    mend = '{ use = "lottery_ticket", rewind = ["weights", "lr", "none"], keep = [0.2, 0.1] },'
    return _graded(len(modes), 3, f"retraining by {', '.join(sorted(modes)) or 'nothing'}", mend)


def _sanity(facts: Facts) -> Judged:
    controls = {c for cell in facts.cells for c in (cell["controls"] or "").split(",")} & {"shuffle", "reinitialise"}
    mend = '{ use = "lottery_ticket", control = ["none", "shuffle", "reinitialise"], keep = [0.2, 0.1] },'
    return _graded(len(controls), 2, f"controls: {', '.join(sorted(controls)) or 'none'}", mend)


def _tuning(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['recipes']} fine-tuning recipes: epochs {t['epochs']}, learning rate {t['rates']}"
    mend = "finetune = { epochs = 10, lr = 1e-4 }  # one for all, under [protocol]"
    return ("satisfied", found, "") if t["recipes"] == 1 else ("partly", found, mend)


def _beyond_accuracy(facts: Facts) -> Judged:
    metrics = facts.totals["metrics"] or ""
    found = [name for name in metrics.split(", ") if any(part in name for part in ("corrupt", "shift", "distance", "logit"))]
    return _any(found, "metrics beyond test accuracy", "a plugin that measures shifted data or distance to the dense network")


def _cost(facts: Facts) -> Judged:
    t = facts.totals
    found = f"seconds of pruning for {t['pruned'] - t['without_prune_seconds']} of {t['pruned']} pruned trials"
    return _shared(t["pruned"], t["without_prune_seconds"], found, "")


def _random_at_start(facts: Facts) -> Judged:
    found = [c for cell in facts.cells for c in (cell["controls"] or "").split(",") if c == "random"][:1]
    mend = '{ use = "lottery_ticket", control = ["none", "random"], keep = [0.2, 0.1] },'
    return _any(found, "random masks trained from the start", mend)


def _decompositions(facts: Facts) -> Judged:
    t = facts.totals
    if not t["ranked"]:
        return "does not apply", "no layer was decomposed", ""
    found = f"rank of {t['ranked']} layers, error of {t['with_error']}, {t['left_alone']} left alone with their reason"
    return _shared(t["ranked"], t["bare"], found, "")


def _latency(facts: Facts) -> Judged:
    t = facts.totals
    found = f"{t['measured']} paired measurements ({t['with_samples']} with raw samples, {t['with_floor']} with a floor), "
    found += f"{t['batches']} batch sizes, {t['dtypes'] or 'no number format'}, {t['devices'] or 'no device'}"
    if not t["measured"]:
        return "missing", found, "latency = { batch = [1, 64] }  # under [protocol]"
    bare = 2 * t["measured"] - t["with_samples"] - t["with_floor"]
    return _shared(2 * t["measured"], bare, found, '{ use = "dense" },  # timed against its own copy')


def _controls(facts: Facts, names: Iterable[str], mend: str) -> Judged:
    found = [name for name in names if name in facts.methods]
    return _graded(len(found), 2, f"controls: {', '.join(found) or 'none'}", mend)


def _any(found: list[str], what: str, mend: str) -> Judged:
    return ("satisfied", f"{what}: {', '.join(found)}", "") if found else ("missing", f"no {what}", mend)


def _graded(count: int, wanted: int, found: str, mend: str) -> Judged:
    if count >= wanted:
        return "satisfied", found, ""
    return ("partly" if count else "missing"), found, mend


def _shared(whole: int, lacking: int, found: str, mend: str) -> Judged:
    """Satisfied where nothing is lacking, missing where everything is."""
    if not whole:
        return "missing", found, mend
    return ("satisfied", found, "") if lacking <= 0 else ("missing" if lacking >= whole else "partly", found, mend)


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
