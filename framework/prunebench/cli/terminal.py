"""A table that fits a terminal: nothing is cut without a sign, and what is left out is named.

Where it is too wide, a single row becomes a list; then spare columns go, texts are folded at words, and at last the
middle columns make room for `…`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

GAP = 2
LEAST_PROSE = 24  # characters that a folded text keeps
ELLIPSIS = "…"


@dataclass(frozen=True)
class Sheet:
    """Cells as they are shown: a name and an alignment per column, a text per cell."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    to_right: tuple[bool, ...]

    def only(self, numbers: Sequence[int]) -> Sheet:
        """These columns of it."""
        rows = tuple(tuple(row[number] for number in numbers) for row in self.rows)
        return Sheet(
            tuple(self.columns[number] for number in numbers), rows, tuple(self.to_right[number] for number in numbers)
        )

    def widths(self) -> list[int]:
        """Characters that each column takes unfolded."""
        return [max(map(width_of, column)) for column in zip(self.columns, *self.rows, strict=True)]


@dataclass(frozen=True)
class Fitted:
    """The head and the lines below it, and a sentence about what is not shown (empty where all is)."""

    head: str
    lines: tuple[str, ...]
    left_out: str = ""


def fitted(sheet: Sheet, width: int, spare: Sequence[str] = ()) -> Fitted:
    """`sheet` in at most `width` characters per line; columns named in `spare` are the first to go."""
    if _total(sheet.widths()) <= width:
        return _laid_out(sheet, sheet.widths())
    if len(sheet.rows) == 1 and not spare and len(sheet.columns) > 1:
        return Fitted("", tuple(_as_list(sheet, width)))
    kept = _without_spare(sheet, width, spare)
    part = sheet.only(kept)
    folded = _folded(part, width)
    if folded is None:
        return _without_middle(part, width, len(sheet.columns))
    gone = [name for number, name in enumerate(sheet.columns) if number not in kept]
    note = f"not shown at {width} characters: {', '.join(gone)}; --json has them" if gone else ""
    made = _laid_out(part, folded)
    return Fitted(made.head, made.lines, note)


def width_of(text: str) -> int:
    """Columns of a terminal that `text` takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int, to_right: bool) -> str:
    """`text` with blanks up to `width`."""
    space = " " * (width - width_of(text))
    return space + text if to_right else text + space


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _without_spare(sheet: Sheet, width: int, spare: Sequence[str]) -> list[int]:
    """Numbers of the columns that stay: spare ones go, in their order, until the rest fits with its texts folded."""
    kept = list(range(len(sheet.columns)))
    for name in spare:
        if _folded(sheet.only(kept), width) is not None:
            break
        kept = [number for number in kept if sheet.columns[number] != name]
    return kept


def _folded(sheet: Sheet, width: int) -> list[int] | None:
    """Widths that fit once texts of several words are folded, the widest first; None where that is not enough."""
    widths = sheet.widths()
    while (excess := _total(widths) - width) > 0:
        texts = [number for number in range(len(widths)) if widths[number] > LEAST_PROSE and _is_prose(sheet, number)]
        if not texts:
            return None
        widest = max(texts, key=lambda number: widths[number])
        widths[widest] = max(LEAST_PROSE, widths[widest] - excess)
    return widths


def _is_prose(sheet: Sheet, number: int) -> bool:
    return not sheet.to_right[number] and any(" " in row[number] for row in sheet.rows)


def _without_middle(sheet: Sheet, width: int, count: int) -> Fitted:
    """Columns from both ends, as many as fit around a column of `…`; long cells are cut with the same sign."""
    if len(sheet.columns) == 1:
        return _laid_out(sheet, [width])
    most = max(12, (width - 1 - 2 * GAP) // 2)
    widths = [min(wide, most) for wide in sheet.widths()]
    left, right = _ends(widths, width - 1)
    shown = sheet.only([*left, *right])
    short = tuple(tuple(map(_cut, row, [most] * len(row))) for row in (shown.columns, *shown.rows))
    signed = [(*row[: len(left)], ELLIPSIS, *row[len(left) :]) for row in short]
    aligned = (*shown.to_right[: len(left)], False, *shown.to_right[len(left) :])
    made = Sheet(signed[0], tuple(signed[1:]), aligned)
    note = f"{count - len(shown.columns)} of {count} columns are not shown at {width} characters; --json has them all"
    laid_out = _laid_out(made, made.widths())
    return Fitted(laid_out.head, laid_out.lines, note)


def _ends(widths: Sequence[int], room: int) -> tuple[list[int], list[int]]:
    """Numbers of the columns from the left and from the right, in turn, that fit into `room`; the first always."""
    left, used = [0], widths[0] + GAP
    right: list[int] = []
    numbers = iter(_in_turn(1, len(widths) - 1))
    for number, from_left in numbers:
        used += widths[number] + GAP
        if used > room or len(left) + len(right) == len(widths) - 1:
            break
        (left if from_left else right).append(number)
    return left, sorted(right)


def _in_turn(first: int, last: int) -> Iterator[tuple[int, bool]]:
    from_left = False
    while first <= last:
        yield (first, True) if from_left else (last, False)
        first, last = (first + 1, last) if from_left else (first, last - 1)
        from_left = not from_left


def _as_list(sheet: Sheet, width: int) -> Iterable[str]:
    """A line a column: its name, then its value, folded below itself."""
    names = min(max(map(width_of, sheet.columns)), width // 2)
    for name, value in zip(sheet.columns, sheet.rows[0], strict=True):
        for number, line in enumerate(_wrapped(value, width - names - GAP) or [""]):
            yield f"{padded(_cut(name, names) if number == 0 else '', names, False)}  {line}".rstrip()


def _laid_out(sheet: Sheet, widths: Sequence[int]) -> Fitted:
    head, *lines = [line for row in (sheet.columns, *sheet.rows) for line in _row_lines(row, widths, sheet.to_right)]
    return Fitted(head, tuple(lines))


def _row_lines(row: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> Iterable[str]:
    """The lines of one row; folded cells go on below themselves."""
    cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(1, *map(len, cells))):
        line = (cell[number] if number < len(cell) else "" for cell in cells)
        yield (" " * GAP).join(map(padded, line, widths, to_right)).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width`, broken at blanks; a longer word is broken where it must."""
    if width_of(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _broken(word, width)
        lines += full
    return [*lines, line]


def _broken(word: str, width: int) -> list[str]:
    """`word` in pieces of at most `width`."""
    from rich.cells import chop_cells

    return chop_cells(word, width) or [""]


def _cut(text: str, width: int) -> str:
    """`text`, its end replaced by `…` where it is longer than `width`."""
    return text if width_of(text) <= width else _broken(text, width - 1)[0] + ELLIPSIS
