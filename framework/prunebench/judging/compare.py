"""Two sides of the database, paired trial by trial: has anything got worse?

A side is a run, a version, a machine or a method. Runs, versions and machines are paired on the trial (the same
question asked twice), or, where no trial is shared, on what was asked, across protocols; methods on data set, model,
protocol and seed, at the nearest compression where a side has several settings.
Differences are B minus A. A score is compared as its objective says, accuracies as differences of fractions and
perplexities as ratios; all else as ratios, averaged as logarithms. Each objective has a line of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from prunebench.errors import QueryError
from prunebench.judging.pairing import Pairing, pairing, protocol_note
from prunebench.measure.statistics import t_quantile
from prunebench.store.answers import own_queries
from prunebench.store.lookup import run_of
from prunebench.writing import quoted

KINDS = ("run", "version", "environment", "host", "method")
LEAST_EFFECT = {"speedup": 0.01, "latency_ms": 0.01}  # what a machine cannot tell apart
TIMED = ("speedup", "latency_ms", "prune_seconds")


@dataclass(frozen=True)
class Metric:
    """What is compared: a column, and how. `title` and `unit` are told of scores, whose name an objective chooses."""

    name: str
    is_ratio: bool = True
    larger_is_better: bool = True
    decides: bool = True  # the exit code
    column: str = ""  # where it is not `name`
    title: str = ""
    unit: str = ""

    @property
    def source(self) -> str:
        """The column that it is read from."""
        return self.column or self.name


METRICS = (
    Metric("compression_ratio"),
    Metric("speedup"),
    Metric("latency_ms", larger_is_better=False, decides=False),
    Metric("prune_seconds", larger_is_better=False, decides=False),
    Metric("stored_bytes", larger_is_better=False),
)
FACTS = ("score_name", "score_title", "score_unit", "larger_is_better", "compared")


@dataclass(frozen=True)
class Difference:
    """One metric over all pairs; `low` and `high` are the 95 % interval, None for a single pair that differs."""

    metric: str
    pair_count: int
    seed_count: int  # different seeds among the pairs
    a: float
    b: float
    is_ratio: bool
    effect: float  # b - a, or b / a
    low: float | None
    high: float | None
    verdict: str  # better, worse, same, can't tell
    is_regression: bool
    title: str = ""  # of a score, for people
    unit: str = ""
    larger_is_better: bool = True


@dataclass(frozen=True)
class Comparison:
    """Both sides, how many trials found their partner, and a difference a metric."""

    a: str
    b: str
    a_count: int
    b_count: int
    pair_count: int
    lost_count: int  # trials that are ok in A and ended otherwise in B
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_regression(self) -> bool:
        """Whether B is worse than A in a metric that counts, or lost trials that A has."""
        return self.lost_count > 0 or any(difference.is_regression for difference in self.differences)


def compare(path: Path | str, a: str, b: str, tolerance: float = 0.0) -> Comparison:
    """A against B; `tolerance` is the loss of score to accept, in its own unit or, of ratios, as a share.

    Raises where a side is empty.
    """
    sides = [_side(path, text) for text in (a, b)]
    a_sql, b_sql = map(_rows_sql, sides)
    paired = pairing(path, a_sql, b_sql, has_methods=any(kind == "method" for kind, _ in sides))
    counts = [f"select count(*), count(*) filter (status = 'ok') from ({sql})" for sql in (a_sql, b_sql)]
    asked = [_pairs_sql(a_sql, b_sql, paired), _lost_sql(a_sql, b_sql, paired.same), *counts]
    answers = own_queries(path, asked, row_limit=1_000_000)
    pairs, lost, *counted = answers
    for side, count in zip((a, b), counted, strict=True):
        if not count.rows[0][0]:
            raise QueryError(
                f"{side!r}: no results; say run:ID, version:0.1.0, environment:ID, host:NAME or method:NAME"
            )
    rows = [dict(zip(pairs.columns, row, strict=True)) for row in pairs.rows]
    lost_count = int(lost.rows[0][0])
    if not rows and not lost_count:
        raise QueryError(f"{a!r} and {b!r} have no {paired.keys} in common: nothing to compare")
    scores = [_difference(metric, own, tolerance) for metric, own in _scored(rows)]
    made = [*scores, *(_difference(metric, rows, LEAST_EFFECT.get(metric.name, 0.0)) for metric in METRICS)]
    a_count, b_count = (int(count.rows[0][1]) for count in counted)
    protocols = protocol_note(path, ((row["a_protocol"], row["b_protocol"]) for row in rows))
    notes = (*_notes(rows, lost_count), *filter(None, (paired.note, protocols)))
    return Comparison(a, b, a_count, b_count, len(rows), lost_count, tuple(d for d in made if d), notes)


def _side(path: Path | str, text: str) -> tuple[str, str]:
    """Kind and value; a bare word is a run."""
    kind, colon, value = text.partition(":")
    if colon and kind in KINDS and value:
        return kind, run_of(path, value) if kind == "run" else value
    return "run", run_of(path, text)


def _rows_sql(side: tuple[str, str]) -> str:
    """The side's own best attempts: a result that another run bettered still counts for its own run."""
    kind, value = side
    condition = {
        "run": "run.run_id = $v",
        "version": "provenance.prunebench = $v",
        "environment": "environment.environment_id = $v",
        "host": "environment.host = $v",
        "method": "(method.name = $v or method.label = $v)",
    }[kind].replace("$v", quoted(value))
    return f"""
        select
            r.trial_id, r.status, dataset.label as dataset, model.label as model, method.label as method,
            method.setting, r.protocol, r.seed,
            environment.environment_id, coalesce(r.score, r.top1_accuracy) as score,
            score_name_of(r.objective) as score_name, score_title_of(r.objective) as score_title,
            score_unit_of(r.objective) as score_unit, larger_is_better(r.objective) as larger_is_better,
            coalesce(r.objective ->> '$.compared', 'difference') as compared,
            dense.parameter_count / nullif(r.nonzero_parameter_count, 0) as compression_ratio,
            r.speedup, r.latency_ms, r.prune_seconds, r.stored_bytes
        from result as r
        join run on run.id = r.run
        join choice as dataset on dataset.id = r.dataset
        join choice as model on model.id = r.model
        join choice as method on method.id = r.method
        join provenance on provenance.id = r.provenance
        join environment on environment.id = r.environment
        left join (from result select baseline, max(parameter_count) as parameter_count
            where is_dense and status = 'ok' group by baseline) as dense on dense.baseline = r.baseline
        where {condition}
        qualify row_number() over (
            partition by r.trial_id order by r.status = 'ok' desc, r.started_at desc, r.attempt desc
        ) = 1
    """


def _pairs_sql(a: str, b: str, paired: Pairing) -> str:
    names = ("score", *(metric.source for metric in METRICS))
    values = ", ".join(
        [f"a.{name} as a_{name}, b.{name} as b_{name}" for name in names] + [f"b.{fact} as {fact}" for fact in FACTS]
    )
    return f"""
        select
            a.environment_id = b.environment_id as same_environment, a.seed as seed,
            a.score_name = b.score_name as same_score, a.protocol as a_protocol, b.protocol as b_protocol, {values}
        from ({a}) as a
        join ({b}) as b using ({paired.keys})
        where a.status = 'ok' and b.status = 'ok' {paired.condition}
    """


def _lost_sql(a: str, b: str, keys: str) -> str:
    return f"select count(*) from ({a}) as a join ({b}) as b using ({keys}) where a.status = 'ok' and b.status <> 'ok'"


def _notes(rows: Sequence[dict[str, Any]], lost_count: int) -> tuple[str, ...]:
    notes = [f"{lost_count} trials that are ok in A did not end ok in B"] if lost_count else []
    if any(not row["same_environment"] for row in rows):
        notes.append("speed is compared only between pairs of the same environment")
    if any(not row["same_score"] for row in rows):
        notes.append("pairs whose two sides are scored by different objectives are left out of the scores")
    if len({row["seed"] for row in rows}) == 1:
        notes.append("all pairs have the same seed: another seed may give another answer")
    return tuple(notes)


def _scored(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[Metric, list[dict[str, Any]]]]:
    """The pairs of each objective, and what they are scored by."""

    def facts(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in FACTS)

    alike = sorted((row for row in rows if row["same_score"]), key=lambda row: tuple(map(str, facts(row))))
    for (name, title, unit, larger, compared), own in groupby(alike, facts):
        yield Metric(name, compared == "ratio", larger, True, "score", title, unit or ""), list(own)


def _difference(metric: Metric, rows: Sequence[dict[str, Any]], least: float) -> Difference | None:
    """The metric over the pairs that have it on both sides, less than `least` not counted; None without a pair."""
    kept = [row for row in rows if row["same_environment"] or metric.name not in TIMED]
    found = [(row[f"a_{metric.source}"], row[f"b_{metric.source}"], row["seed"]) for row in kept]
    is_ratio = metric.is_ratio
    found = [(a, b, seed) for a, b, seed in found if None not in (a, b) and (not is_ratio or (a > 0 and b > 0))]
    if not found:
        return None
    values = [(a, b) for a, b, _ in found]
    effects = [math.log(b / a) if is_ratio else b - a for a, b in values]
    mean, half = _mean_and_half_width(effects)
    gain = mean if metric.larger_is_better else -mean
    verdict = _verdict(gain, half, math.log1p(least) if is_ratio else least)
    back = math.exp if is_ratio else float
    return Difference(
        metric=metric.name,
        pair_count=len(values),
        seed_count=len({seed for _, _, seed in found}),
        a=sum(a for a, _ in values) / len(values),
        b=sum(b for _, b in values) / len(values),
        is_ratio=is_ratio,
        effect=back(mean),
        low=None if half is None else back(mean - half),
        high=None if half is None else back(mean + half),
        verdict=verdict,
        is_regression=metric.decides and verdict == "worse",
        title=metric.title,
        unit=metric.unit,
        larger_is_better=metric.larger_is_better,
    )


def _mean_and_half_width(effects: Sequence[float]) -> tuple[float, float | None]:
    """The mean and half of its 95 % interval (Student's t); None for a single pair that differs."""
    count, mean = len(effects), math.fsum(effects) / len(effects)
    if all(effect == effects[0] for effect in effects) and (count > 1 or mean == 0):
        return mean, 0.0
    if count == 1:
        return mean, None
    variance = math.fsum((effect - mean) ** 2 for effect in effects) / (count - 1)
    return mean, t_quantile(0.975, count - 1) * math.sqrt(variance / count)


def _verdict(gain: float, half: float | None, least: float) -> str:
    """What the interval of the gain says; an effect has to exceed `least`."""
    if gain == 0 and half == 0:
        return "same"
    if half is None:
        return "can't tell"
    if gain - half > 0 and gain > least:
        return "better"
    if gain + half < 0 and -gain > least:
        return "worse"
    return "same" if abs(gain) + half <= least else "can't tell"
