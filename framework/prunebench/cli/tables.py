"""Rows for people and for files: terminal, CSV, JSON, Markdown, LaTeX; nothing a cell holds reaches a terminal raw."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from prunebench.cli.terminal import Sheet, fitted
from prunebench.store.names import distinct
from prunebench.store.plain import plain
from prunebench.writing import escape

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: f"\\{c}" for c in "&%$#_{}"
}
CELL_LIMIT = 2000


def clean(value: object) -> str:
    """`value` as text without control, escape or direction-changing characters, which are shown as `\\x1b`."""
    return "".join(c if _is_harmless(c) else _shown(c) for c in text_of(value)[:CELL_LIMIT])


def text_of(value: object) -> str:
    """A cell as text: floats to six digits, nothing for null, bytes as hexadecimal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:40]).hex() + ("…" if len(value) > 40 else "")
    return json.dumps(plain(value), ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", note: str = "", spare: Sequence[str] = ()
) -> None:
    """A table: fitted to the terminal's width, `spare` columns going first; whole where there is no terminal."""
    kept = [list(row) for row in rows]
    to_right = tuple(_is_numeric(row[number] for row in kept) for number in range(len(columns)))
    names, *cells = [tuple(clean(cell) for cell in line) for line in (distinct(columns), *kept)]
    sheet, on_terminal = Sheet(names, tuple(cells), to_right), sys.stdout.isatty()
    made = fitted(sheet, shutil.get_terminal_size().columns if on_terminal else sys.maxsize, spare)
    head, below = [made.head] if made.head else [], [clean(line) for line in (made.left_out, note) if line]
    if on_terminal and not os.environ.get("NO_COLOR"):
        head, below = [f"\x1b[1m{line}\x1b[0m" for line in head], [f"\x1b[2m{line}\x1b[0m" for line in below]
    print("\n".join([*([clean(title)] if title else []), *head, *made.lines, *below]))


def json_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A list of objects; control characters escaped, two columns of one name told apart by a number."""
    names = distinct(columns)
    return json.dumps([dict(zip(names, plain(list(row)), strict=True)) for row in rows])


def markdown_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [distinct(columns), ["---"] * len(columns), *([clean(value) for value in row] for row in rows)]
    escaped = ([cell.replace("\\", "\\\\").replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def latex_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A `tabular` with booktabs rules."""
    kept = [list(row) for row in rows]
    body = "".join(_latex_line(row) for row in kept)
    numeric = [_is_numeric(row[i] for row in kept) for i in range(len(columns))]
    spec = "".join("r" if is_number else "l" for is_number in numeric)
    head = _latex_line(distinct(columns))
    return f"\\begin{{tabular}}{{{spec}}}\n\\toprule\n{head}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"


def _is_numeric(cells: Iterable[Any]) -> bool:
    filled = [cell for cell in cells if cell is not None]
    return bool(filled) and all(isinstance(cell, int | float) for cell in filled)


def _latex_line(cells: Sequence[Any]) -> str:
    return " & ".join("".join(LATEX.get(c, c) for c in clean(cell)) for cell in cells) + r" \\" + "\n"


def _is_harmless(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _shown(character: str) -> str:
    return {"\n": "\\n", "\t": "\\t"}.get(character) or escape(character)
