"""Column names of a query's rows: one rule for the screen, for every file format and for Python."""

from __future__ import annotations

from collections.abc import Sequence


def distinct(columns: Sequence[str]) -> list[str]:
    """`columns` with equal names told apart by a number: `a`, `a_2`, `a_3`. Letters' case does not tell names apart.

    SQL does not tell `a` from `A` either, so that a file of these names can be read by it.
    """
    names: list[str] = []
    taken: set[str] = set()
    for column in columns:
        name, number = column, 2
        while name.lower() in taken:
            name, number = f"{column}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names
