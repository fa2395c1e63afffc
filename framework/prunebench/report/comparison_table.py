"""Published beside ours, read as a paper's table is: what belongs together under one heading, what it differs by, why.

The columns of a comparison say how they are laid out: rows of one `table` stand together under its name; `published_x`,
`formula_x` and `our_x` share the heading x, with their difference; what is the same throughout a table is said once,
above it; `why…` is a reason, said once for the rows that follow one another with it. Long tables are folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from prunebench.report.markup import details, esc, paragraph
from prunebench.report.seeds import COLUMNS as SEEDS
from prunebench.report.seeds import seeds_text

Row = dict[str, Any]
SIDES = {"published": "published", "formula": "formula", "our": "ours"}
DIFFERENCE = "difference"
ROWS_AT_MOST = 400
FOLDED_FROM = 13  # rows


@dataclass(frozen=True)
class Column:
    """One column, or several under one heading."""

    title: str
    names: tuple[str, ...]
    heads: tuple[str, ...] = ()  # one per name, where there are several
    kind: str = ""
    differs: bool = False  # whether a difference stands beside

    @property
    def is_reason(self) -> bool:
        """Whether it says why."""
        return self.names[0].startswith("why")


def tables(rows: Sequence[Row]) -> str:
    """Every table of a comparison, in the order of its rows."""
    if not rows:
        return paragraph("There is no row to show.", "empty")
    shown = rows[:ROWS_AT_MOST]
    more = f"The first {ROWS_AT_MOST} of {len(rows):,} rows."
    parts = [_table(str(title or ""), list(group)) for title, group in groupby(shown, lambda row: row.get("table"))]
    return "\n".join(parts) + (paragraph(more, "note") if len(rows) > ROWS_AT_MOST else "")


def _table(title: str, rows: list[Row]) -> str:
    columns = _columns(rows)
    same = [column for column in columns if len(rows) > 1 and all(_is_same(rows, name) for name in column.names)]
    varied = [column for column in columns if column not in same] or columns
    same = [column for column in same if column not in varied]
    said = "; ".join(_said(column, rows) for column in same if not column.is_reason)
    reasons = [str(_first(rows, column.names[0])) for column in same if column.is_reason]
    told = " ".join([f"Throughout: {said}."] * bool(said) + reasons)
    inside = (paragraph(told, "note") if told else "") + _body(varied, rows)
    if len(rows) >= FOLDED_FROM:
        return details(f"{title or 'Table'}: {len(rows)} rows", inside)
    return (f"<h3>{esc(title)}</h3>" if title else "") + inside


def _columns(rows: list[Row]) -> list[Column]:
    """Columns that say anything, those of one heading together where the first of them stands."""
    names = [name for name in rows[0] if name != "table" and any(row[name] not in (None, "") for row in rows)]
    paired = {_topic(name) for name in rows[0] if f"published_{_topic(name)}" in rows[0]}
    found: dict[str, Column] = {}
    for name in names:
        topic = _topic(name)
        if topic not in paired or topic == name:
            found[name] = Column(_words(name), (name,), kind=_kind(rows, name))
        elif topic not in found:
            sides = [side for side in SIDES if f"{side}_{topic}" in names]
            kind = _kind(rows, name)
            differs = {"published", "our"} <= set(sides) and kind == "number" and not topic.endswith("std")
            own, heads = tuple(f"{side}_{topic}" for side in sides), tuple(SIDES[side] for side in sides)
            found[topic] = Column(_words(topic), own, heads, kind, differs)
    return list(found.values())


def _topic(name: str) -> str:
    side, _, topic = name.partition("_")
    return topic if side in SIDES and topic else name


def _words(name: str) -> str:
    return name.replace("_percent", ", %").replace("_", " ").replace("top1", "top-1")


def _first(rows: list[Row], name: str) -> Any:
    return next((row[name] for row in rows if row[name] not in (None, "")), None)


def _is_same(rows: list[Row], name: str) -> bool:
    """Whether the rows that say anything there say the same; a reason has to be every row's."""
    silent = () if name.startswith("why") else (None, "")
    return all(row[name] in silent or row[name] == _first(rows, name) for row in rows)


def _said(column: Column, rows: list[Row]) -> str:
    values = [_value(_first(rows, name), name) for name in column.names]
    if not column.heads:
        return f"{column.title} {values[0]}"
    return f"{column.title} " + ", ".join(f"{head} {value}" for head, value in zip(column.heads, values, strict=True))


def _body(columns: list[Column], rows: list[Row]) -> str:
    top, below = [], []
    for column in columns:
        if column.heads:
            heads = [*column.heads, DIFFERENCE] if column.differs else column.heads
            top.append(f'<th scope="colgroup" colspan="{len(heads)}" class="group">{esc(column.title)}</th>')
            below += [f'<th scope="col" class="{column.kind}">{esc(head)}</th>' for head in heads]
        else:
            top.append(f'<th scope="col" rowspan="2" class="{column.kind}">{esc(column.title)}</th>')
    body = "\n".join(f"<tr>{''.join(_cells(column, rows, at) for column in columns)}</tr>" for at in range(len(rows)))
    return (
        f'<div class="scroll" tabindex="0"><table class="beside"><thead><tr>{"".join(top)}</tr>'
        f"<tr>{''.join(below)}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _cells(column: Column, rows: list[Row], at: int) -> str:
    if column.is_reason:
        return _reason(column, rows, at)
    row = rows[at]
    cells = [f'<td class="{column.kind}">{esc(_value(row[name], name))}</td>' for name in column.names]
    if column.differs:
        named = dict(zip(column.heads, column.names, strict=True))
        cells.append(f'<td class="number">{_difference(row[named["published"]], row[named["ours"]], column)}</td>')
    return "".join(cells)


def _reason(column: Column, rows: list[Row], at: int) -> str:
    """The reason of a row, in one cell with those of the rows below it that have the same."""
    name = column.names[0]
    text = rows[at][name]
    if at and rows[at - 1][name] == text:
        return ""
    like = next((more for more, row in enumerate(rows[at:]) if row[name] != text), len(rows) - at)
    return f'<td class="wordy" rowspan="{like}">{esc(_value(text, name))}</td>'


def _kind(rows: list[Row], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    if any(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    return "wordy" if any(len(str(value)) > 24 for value in values) else ""


def _difference(published: Any, ours: Any, column: Column) -> str:
    if not isinstance(published, int | float) or not isinstance(ours, int | float):
        return "–"
    if ours == published:
        return "0"
    sign = "+" if ours > published else "−"
    apart = abs(ours - published)
    is_rounded = isinstance(apart, int) or "percent" in column.names[0] or apart >= 1000
    return sign + (_value(apart, column.names[0]) if is_rounded else f"{apart:.2g}" if apart < 1 else f"{apart:.3g}")


def _value(value: Any, name: str) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return seeds_text(value) if name in SEEDS else f"{value:,}"
    if isinstance(value, float):
        shown = f"{value:.2f}" if "percent" in name else f"{value:,.0f}" if value == round(value) else f"{value:.4g}"
        return shown.replace("-", "−")
    return str(value)
