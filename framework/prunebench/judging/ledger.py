"""The ledger: a published number stands beside ours where cell and protocol match, and is then reproduced or not.

Reproduced means that the mean of ours differs from the published number by no more than the tolerance: three standard
deviations of the difference between the mean of n seeds and one more draw, `3 * s * sqrt(1 + 1/n)`, plus the rounding
of the printed number. s is the larger of the spread that we measured and the one that the paper prints.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunebench.plugins.ledger_rows import CELL, NONE, PROTOCOL, LedgerRow

FEWEST_SEEDS = 3  # for a spread of our own
WIDEST = 0.5  # a tolerance above this share of the number would confirm nearly anything
KERNELS = 5e-4  # of a perplexity: what precision and kernels move; dense cells of equal protocol differ by 4e-4
DRAWN = ("calibration_seed",)  # the same seed of another generator draws something else; the tolerance covers it
OWN_CORPUS = "other windows of the test's corpus"  # as data sets of windows say it
EXACT = ("nonzero_parameters",)
OF_ONE_MACHINE = ("speedup",)

SQL = """
select trials.dataset, dataset_label, model, model_label, method, params, seed, loss, top1_accuracy, accuracy_drop,
    nonzero_parameter_count, compression_ratio, stored_ratio, theoretical_speedup, speedup, protocols.settings,
    trial_id, scores, provenances.data
from trials
join protocols using (protocol_id)
join provenances using (provenance_id)
where status = 'ok'
order by trial_id
"""


@dataclass(frozen=True)
class Measured:
    """Ours, one trial: its cell, its protocol in the ledger's words, and its numbers by metric."""

    trial_id: str
    model: str
    dataset: str
    method: str
    params: dict[str, Any]
    seed: int
    protocol: dict[str, str]
    numbers: dict[str, float]


@dataclass(frozen=True)
class Beside:
    """Trials of one setting and protocol, beside a published number: their mean, and the columns that differ."""

    mean: float
    spread: float | None  # standard deviation over seeds, None for one
    seed_count: int
    differs: tuple[str, ...]  # "window: 2048, ours 512"
    trial_ids: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A published number and what became of it: reproduced, not reproduced, cannot tell."""

    row: LedgerRow
    verdict: str
    why: str
    ours: Beside | None = None
    tolerance: float | None = None
    apart: tuple[Beside, ...] = field(default_factory=tuple)


def measured_trials(db: Path | str, run: str = "") -> list[Measured]:
    """What a results database holds, in the ledger's words; raises StoreError or QueryError."""
    from prunebench.store.answers import own_query

    answer = own_query(db, SQL, run=run, row_limit=1_000_000)
    return [measured(dict(zip(answer.columns, row, strict=True))) for row in answer.rows]


def measured(row: dict[str, Any]) -> Measured:
    """A row of the view `trials` with its protocol's settings, in the ledger's words."""
    params = json.loads(row["params"] or "{}")
    settings = json.loads(row["settings"])
    return Measured(
        row["trial_id"],
        _model_name(row["model"], row["model_label"]),
        row["dataset"],
        row["method"],
        params,
        row["seed"],
        _protocol(row, settings),
        _numbers(row),
    )


def _model_name(model: str, label: str) -> str:
    """A model of many names by the one that it was read under: `opt-125m`, not `causal_lm`."""
    if found := re.search(r"(?:repo|folder)=(?:[^,)]*/)?([^,)/]+)", label):
        return found[1].lower()
    return model


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    share = row["top1_accuracy"]
    drop = row["accuracy_drop"]
    found = {
        "top1_accuracy": None if share is None else 100 * share,
        "accuracy_drop": None if drop is None else 100 * drop,
        "perplexity": json.loads(row["scores"] or "{}").get("perplexity") if _told(row) else None,
        "nonzero_parameters": row["nonzero_parameter_count"],
        **{name: row[name] for name in ("compression_ratio", "stored_ratio", "theoretical_speedup", "speedup")},
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """What the data set said of its windows when the trial ran; nothing of images."""
    facts = json.loads(row["data"] or "{}")
    return facts if "window" in facts else {}


def _calibration(row: dict[str, Any], told: dict[str, Any]) -> str:
    """The corpus that calibrates, by the data set's name where it is the test's own."""
    is_own = str(told.get("calibration", OWN_CORPUS)) == OWN_CORPUS
    return str(row["dataset"] if is_own else told.get("calibration_corpus", ""))


def _protocol(row: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    told = _told(row)
    partial = bool(settings.get("evaluation_limit")) or bool(told.get("partial"))
    split = str(told.get("split", "test"))
    inside = re.search(r"\((.*)\)", row["dataset_label"])
    revision = re.search(r"revision=([^,)]+)", row["model_label"])
    tokens = str(told.get("window", NONE))
    return {
        "revision": str(told.get("revision") or (revision[1] if revision else "")),
        "dataset_setting": inside[1] if inside else "",
        "split": f"{split}, a part of it" if partial else split,
        "join": str(told.get("join", NONE)),
        "window": tokens,
        "calibration_corpus": _calibration(row, told),
        "calibration_samples": str(told.get("calibration_samples") or settings.get("calibration", "")),
        "calibration_length": tokens,
        "calibration_seed": str(told.get("calibration_seed", "")),
        "train": _recipe(settings.get("train", {})),
        "updated": "yes" if _trains(settings.get("finetune", {})) else "no",
    }


def _trains(recipe: dict[str, Any]) -> bool:
    return bool(recipe.get("epochs") or recipe.get("steps"))


def _recipe(recipe: dict[str, Any]) -> str:
    """ "adam lr 0.0001 batch 512 epochs 10"; "-" for networks that are left as they come."""
    if not _trains(recipe):
        return NONE
    length = f"steps {recipe['steps']}" if recipe.get("steps") else f"epochs {recipe['epochs']}"
    patience = f" patience {recipe['patience']}" if recipe.get("patience") else ""
    return f"{recipe['optimizer']} lr {recipe['lr']:g} batch {recipe['batch_size']} {length}{patience}"


def ledger(
    rows: Iterable[LedgerRow], trials: Sequence[Measured], defaults: dict[str, dict[str, Any]] | None = None
) -> list[Entry]:
    """An entry per published row. `defaults`: parameter -> value by method, for those that a setting leaves out."""
    by_cell: dict[tuple[str, str, str], list[Measured]] = {}
    for trial in trials:
        by_cell.setdefault((trial.model, trial.dataset, trial.method), []).append(trial)
    return [_entry(row, by_cell.get((row.model, row.dataset, row.method), []), defaults or {}) for row in rows]


def _entry(row: LedgerRow, trials: Sequence[Measured], defaults: dict[str, dict[str, Any]]) -> Entry:
    if row.metric in OF_ONE_MACHINE:
        return Entry(row, "cannot tell", "a time belongs to the machine it was measured on")
    same = [t for t in trials if row.metric in t.numbers and _same_setting(row, t, defaults.get(row.method, {}))]
    if not same:
        why = "our method has no such setting or the paper names none" if trials and not row.setting else "not measured"
        return Entry(row, "cannot tell", why)
    groups: dict[str, list[Measured]] = {}
    for trial in same:
        groups.setdefault(json.dumps(trial.protocol, sort_keys=True), []).append(trial)
    beside = [_beside(row, group) for group in groups.values()]
    matching = [group for group in beside if not group.differs]
    apart = tuple(group for group in beside if group.differs)
    if not matching:
        return Entry(row, "cannot tell", f"another protocol: {'; '.join(apart[0].differs)}", apart=apart)
    best = max(matching, key=lambda group: group.seed_count)
    verdict, why, tolerance = judged(row, best)
    return Entry(row, verdict, why, best, tolerance, apart)


def _same_setting(row: LedgerRow, trial: Measured, defaults: dict[str, Any]) -> bool:
    """Whether the named parameters are the trial's, and all that are not named have their defaults."""
    if not row.setting:
        return False
    named = settings_of(row.setting)
    others = {key: value for key, value in trial.params.items() if key not in named and key in defaults}
    return all(_equal(text, trial.params.get(key)) for key, text in named.items()) and all(
        _equal(str(defaults[key]), value) for key, value in others.items()
    )


def settings_of(text: str) -> dict[str, str]:
    """ "keep=0.5, pattern=2:4" as a table; "-" is an empty one."""
    return {} if text == NONE else dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)


def _equal(text: str, value: Any) -> bool:
    try:
        return math.isclose(float(text), float(value), rel_tol=1e-3, abs_tol=1e-4)
    except (TypeError, ValueError):
        return text.lower() == str(value).lower()


def _beside(row: LedgerRow, trials: Sequence[Measured]) -> Beside:
    numbers = [trial.numbers[row.metric] for trial in trials]
    spread = statistics.stdev(numbers) if len(numbers) > 1 else None
    ids = tuple(trial.trial_id for trial in trials)
    return Beside(statistics.fmean(numbers), spread, len(numbers), differing(row, trials[0].protocol), ids)


def differing(row: LedgerRow, ours: dict[str, str]) -> tuple[str, ...]:
    """The protocol's columns on which the two differ; what a paper does not tell differs from nothing but is told."""
    return tuple(
        f"{name}: {said}, ours {ours.get(name) or 'not recorded'}"
        for name in PROTOCOL
        if name not in DRAWN
        and (said := getattr(row, name)) not in ("", NONE)
        and not _covers(name, said, ours.get(name, ""))
    )


def _covers(name: str, said: str, ours: str) -> bool:
    if name == "dataset_setting":
        have = settings_of(ours)
        return all(have.get(key, "").lower() == value.lower() for key, value in settings_of(said).items())
    return said == ours


def judged(row: LedgerRow, ours: Beside) -> tuple[str, str, float | None]:
    """Verdict, reason and tolerance (in the metric's unit) of a published number beside ours of the same protocol."""
    away = abs(ours.mean - row.value)
    if row.metric in EXACT:
        return ("reproduced", "equal", row.digits) if away <= row.digits else ("not reproduced", "counts differ", 0.0)
    untold = [name for name in ("window", "join", "split") if getattr(row, name) in ("", NONE)]
    if row.metric == "perplexity" and untold:
        return "cannot tell", f"the paper does not tell its {untold[0]}", None
    measured_spread = ours.spread if ours.seed_count >= FEWEST_SEEDS else None
    spreads = [spread for spread in (measured_spread, row.spread) if spread is not None]
    if measured_spread is None and not (row.spread and ours.seed_count):
        seeds = "one seed" if ours.seed_count == 1 else f"{ours.seed_count} seeds"
        return "cannot tell", f"{seeds}: no spread to judge by", None
    kernels = KERNELS * row.value if row.metric == "perplexity" else 0.0
    tolerance = 3 * max(spreads) * math.sqrt(1 + 1 / ours.seed_count) + row.digits + kernels
    if tolerance > WIDEST * abs(row.value):
        return "cannot tell", "the spread is too wide to decide", tolerance
    if away <= tolerance:
        return "reproduced", f"{away:.3g} apart", tolerance
    return "not reproduced", f"{away:.3g} apart", tolerance


def disagreements(rows: Iterable[LedgerRow]) -> list[tuple[LedgerRow, ...]]:
    """Rows of one cell from two sources or more, whatever their protocol; most sources first."""
    cells: dict[tuple[str, ...], list[LedgerRow]] = {}
    for row in rows:
        cells.setdefault(tuple(getattr(row, name) for name in CELL if name != "setting"), []).append(row)
    shared = [tuple(group) for group in cells.values() if len({row.source for row in group}) > 1]
    return sorted(shared, key=lambda group: (-len({row.source for row in group}), group[0].model, group[0].method))


def unlike(group: Sequence[LedgerRow]) -> list[str]:
    """The protocol's columns on which rows of one cell differ, as texts: "window: 2048 / 4096"."""
    found = []
    for name in PROTOCOL:
        said = list(dict.fromkeys(getattr(row, name) or "not told" for row in group))
        if len(said) > 1:
            found.append(f"{name.replace('_', ' ')}: {' / '.join(said)}")
    return found
