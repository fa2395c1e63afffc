"""Short names of settings: the method and only those parameters that differ between its settings."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

STAGES = " > "
_BETWEEN = re.compile(r", (?=[A-Za-z_]\w*=)")
Parts = dict[tuple[int, str], str]  # (stage, parameter) -> value


def short_labels(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Full label -> `low_rank rank=10`, for (method, full label) pairs; a name that would not be unique stays full."""
    of_method: dict[str, set[str]] = defaultdict(set)
    for method, label in settings:
        of_method[method].add(label)
    short: dict[str, str] = {}
    for method, labels in of_method.items():
        short |= _of_one(method, sorted(labels))
    return short


def labelled(frame: pl.DataFrame, labels: dict[str, str]) -> pl.DataFrame:
    """`frame` with a column `label` after `setting`; as it is where it has no `setting`, or a `label` already."""
    import polars as pl

    if "setting" not in frame.columns or "label" in frame.columns:
        return frame
    named = [labels.get(text, text) for text in frame["setting"].to_list()]
    return frame.insert_column(frame.get_column_index("setting") + 1, pl.Series("label", named, dtype=pl.String))


def _of_one(method: str, labels: list[str]) -> dict[str, str]:
    parts = {label: _parts(label) for label in labels}
    keys = dict.fromkeys(key for found in parts.values() for key in found)
    varying = [key for key in keys if len({found.get(key) for found in parts.values()}) > 1]
    short = {label: _named(method, found, varying) for label, found in parts.items()}
    return short if len(set(short.values())) == len(short) else {label: label for label in labels}


def _named(method: str, parts: Parts, varying: list[tuple[int, str]]) -> str:
    names = method.split(STAGES)
    told = [
        " ".join(
            [name, ", ".join(f"{key}={parts[at, key]}" for at, key in varying if at == place and (at, key) in parts)]
        )
        for place, name in enumerate(names)
    ]
    return STAGES.join(text.strip() for text in told)


def _parts(label: str) -> Parts:
    found: Parts = {}
    for place, stage in enumerate(label.split(STAGES)):
        inside = stage.partition("(")[2].removesuffix(")")
        for item in _BETWEEN.split(inside) if inside else ():
            key, _, value = item.partition("=")
            found[place, key] = _short_number(value)
    return found


def _short_number(text: str) -> str:
    try:
        return f"{float(text):.4g}" if "." in text or "e" in text else text
    except ValueError:
        return text
