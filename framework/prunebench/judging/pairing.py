"""Which rows of two sides are a pair, and in what their protocols differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.store.answers import own_queries, own_query

NEAR = 1.25  # how far apart, as a ratio, two compressions may be that are called near


@dataclass(frozen=True)
class Pairing:
    """Columns that both rows of a pair share; with `is_nearest`, their compressions are the nearest to each other."""

    keys: str
    is_nearest: bool = False
    note: str = ""

    @property
    def condition(self) -> str:
        """SQL after `a join b using (keys)`: which of the rows that share the keys are pairs."""
        if not self.is_nearest:
            return ""
        gap = "round(abs(ln(a.compression_ratio / b.compression_ratio)), 3)"
        order = f"{gap} nulls last, a.setting <> b.setting, a.setting, b.setting"
        return f"""
            and coalesce({gap} <= ln({NEAR}), a.setting = b.setting)
            qualify row_number() over (partition by a.trial_id, b.protocol order by {order}) = 1
                and row_number() over (partition by b.trial_id, a.protocol order by {order}) = 1
        """

    @property
    def same(self) -> str:
        """Columns by which a trial of A that was lost in B is found there."""
        return f"{self.keys}, setting" if self.is_nearest else self.keys


def pairing(path: Path | str, a: str, b: str, has_methods: bool) -> Pairing:
    """How the rows of the queries `a` and `b` are paired: as closely as they have something in common.

    Runs, versions and machines on the trial; where they share none, on what was asked, across protocols. Methods on
    the network, and at the nearest compression where one has several settings.
    """
    shared = "select count(*) from ({0}) as a join ({1}) as b using ({2})"
    asked = [
        shared.format(a, b, "trial_id"),
        shared.format(a, b, "dataset, model, protocol, seed"),
        *(f"select count(distinct setting) from ({side})" for side in (a, b)),
    ]
    answers = own_queries(path, asked)
    same_trials, same_protocol, *settings = (int(answer.rows[0][0]) for answer in answers)
    if has_methods:
        keys = "dataset, model, protocol, seed" if same_protocol else "dataset, model, seed"
        is_nearest = max(settings) > 1
        note = f"paired at the nearest compression, at most {NEAR - 1:.0%} apart" if is_nearest else ""
        return Pairing(keys, is_nearest, note)
    if same_trials:
        return Pairing("trial_id")
    note = "no trial in common: paired on data set, model, method with its setting, and seed"
    return Pairing("dataset, model, method, seed", note=note)


def protocol_note(path: Path | str, pairs: Iterable[tuple[int, int]]) -> str:
    """The keys in which the protocols of the pairs (numbers of A and B) differ, with their values; empty for none."""
    apart = sorted({pair for pair in pairs if pair[0] != pair[1]})
    if not apart:
        return ""
    answer = own_query(path, "select id, settings from protocol", row_limit=1_000_000)
    settings = {row[0]: dict(_flat(json.loads(row[1]))) for row in answer.rows}
    found: dict[str, str] = {}
    for a, b in apart:
        for key, values in differing(settings[a], settings[b]).items():
            found.setdefault(key, f"{key} (A {_short(values[0])}, B {_short(values[1])})")
    return f"the protocols of A and B differ in {', '.join(found.values())}"


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys of either with both values, where these are not the same."""
    return {key: (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def _flat(table: Mapping[str, Any], above: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*above, key))
        else:
            yield ".".join((*above, key)), value


def _short(value: Any) -> str:
    return "none" if value is None else json.dumps(value)
