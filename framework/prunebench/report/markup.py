"""Small pieces of HTML; every text that comes from outside passes through `esc`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from prunebench.writing import printable, printable_lines


def esc(text: object, longest: int = 2000) -> str:
    """`text` as HTML text or as an attribute's value."""
    return html.escape(printable(text, longest), quote=True)


def section(name: str, title: str, *parts: str) -> str:
    """A section with its heading."""
    inside = "\n".join(part for part in parts if part)
    head = f'<h2 id="{name}-title">{esc(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">\n{head}\n{inside}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{esc(text)}</p>' if kind else f"<p>{esc(text)}</p>"


def table(
    heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], kind: str = "", panels: Sequence[str] = ()
) -> str:
    """A table of ready cells, of class `kind`; a head is (title, class); `panels` are those that its rows belong to."""
    top = "".join(f'<th scope="col" class="{each}">{esc(title)}</th>' for title, each in heads)
    kinds = [each for _, each in heads]
    marks = [f' data-panel="{esc(panel)}"' for panel in panels]
    body = "\n".join(
        f"<tr{mark}>"
        + "".join(f'<td class="{each}">{cell}</td>' for each, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for mark, row in zip_longest(marks, rows, fillvalue="")
    )
    inside = f"<thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody>"
    return f'<div class="scroll" tabindex="0"><table class="{kind}">{inside}</table></div>'


def pairs(items: Iterable[tuple[str, object]]) -> str:
    """Names and values side by side; empty values are left out."""
    inside = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in items if value not in (None, ""))
    return f'<dl class="pairs">{inside}</dl>'


def code(text: str, name: str = "", longest: int = 60_000) -> str:
    """Preformatted text, with a button that copies it where it has a `name`."""
    shown = html.escape(printable_lines(text, longest), quote=False)
    copy = f'<button type="button" data-copy="{name}">Copy</button>' if name else ""
    return f'<pre tabindex="0"><code{f" id={chr(34)}{name}{chr(34)}" if name else ""}>{shown}</code></pre>{copy}'


def details(summary: str, inside: str, is_open: bool = False) -> str:
    """A part that opens."""
    return f"<details{' open' if is_open else ''}><summary>{esc(summary)}</summary>\n{inside}\n</details>"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 trial`, `1,204 trials`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(words: Sequence[str], most: int = 4) -> str:
    """`a, b and c`; beyond `most`, `a, b, c and 5 more`."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
