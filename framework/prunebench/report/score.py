"""How an objective's score is written: a fraction in percent, anything else with four digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.judging.titles import ACCURACY

CLASSIC = (ACCURACY, "fraction", True)  # title, unit, larger is better: of rows that do not say
SHORT = {ACCURACY: "top-1"}


def is_share(unit: str | None) -> bool:
    """Whether the score is shown in percent."""
    return unit == "fraction"


def score_text(value: float | None, unit: str | None, digits: int = 2) -> str:
    """`97.20%`, `12.34`, or a dash."""
    if value is None:
        return "–"
    return f"{value:.{digits}%}" if is_share(unit) else f"{value:.4g}"


def told(title: str, value: float | None, unit: str | None) -> str:
    """`top-1 97.20%`, `perplexity 12.34`."""
    return f"{SHORT.get(title, title)} {score_text(value, unit)}"


def score_of_row(row: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Title, unit and direction of a row of a query; those of classification where it does not say."""
    if row.get("score_title") is None:
        return CLASSIC
    return str(row["score_title"]), str(row.get("score_unit") or ""), bool(row.get("larger_is_better", True))


def floor_words(row: Mapping[str, Any]) -> str:
    """`at its floor` of a network that is no better than none, `near its floor` of one that hardly is, else nothing."""
    if row.get("is_at_floor"):
        return "at its floor"
    return "near its floor" if row.get("is_near_floor") else ""
