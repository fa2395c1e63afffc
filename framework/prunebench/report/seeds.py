"""What is said where a number rests on one seed: the same words in the terminal, on the page and in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ONE_SEED = "(1 seed)"  # stands where an interval or a spread over seeds would
COLUMNS = ("seeds", "seed_count")


def seeds_text(count: int) -> str:
    """`3`, or `(1 seed)`."""
    return ONE_SEED if count == 1 else str(count)


def marked(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """`rows` for people: where a column counts seeds, `(1 seed)` for 1."""
    counts = {place for place, name in enumerate(columns) if name in COLUMNS}
    return [[ONE_SEED if at in counts and cell == 1 else cell for at, cell in enumerate(row)] for row in rows]


def counted(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[int]:
    """Seeds of each row, from the first column that counts them; empty without one."""
    places = [place for place, name in enumerate(columns) if name in COLUMNS]
    return [row[places[0]] for row in rows if isinstance(row[places[0]], int)] if places else []


def caution(counts: Sequence[int], what: str = "setting") -> str:
    """What to say of rows of so many seeds each; empty where none has a single one."""
    single = sum(count == 1 for count in counts)
    if not single:
        return ""
    if single == len(counts):
        return f"Every {what} has one seed: differences between {what}s may be chance."
    verb = "has" if single == 1 else "have"
    return f"{single:,} of {len(counts):,} {what}s {verb} one seed: what sets them apart may be chance."
