"""docs/faults.md from the tests beside this file: `python tests/faults/table.py --write`, without it to the screen."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"
MARKS = {
    "gpu": "needs a GPU",
    "ray": "holds, with Ray installed",
    "slow": "holds, takes a while",
    "xfail": "does not hold yet",
}


@dataclass(frozen=True, order=True)
class Line:
    """One test of one fault."""

    number: int
    place: int
    given: str
    seen: str
    test: str
    state: str


def lines() -> list[Line]:
    """Every test that carries a number, by number."""
    return sorted(line for path in sorted(HERE.glob("test_*.py")) for line in _lines_of(path))


def _lines_of(path: Path) -> Iterator[Line]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shared = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_pytestmark(node)]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "fault":
                number, given, seen = (ast.literal_eval(argument) for argument in mark.args)
                state = _state([*node.decorator_list, *shared])
                yield Line(number, node.lineno, given, seen, f"{path.name}::{node.name}", state)


def _is_pytestmark(node: ast.Assign) -> bool:
    return any(getattr(target, "id", "") == "pytestmark" for target in node.targets)


def _state(marks: list[ast.expr]) -> str:
    """`holds` where nothing but the test itself decides."""
    words = {inner.attr for mark in marks for inner in ast.walk(mark) if isinstance(inner, ast.Attribute)}
    words |= {inner.id for mark in marks for inner in ast.walk(mark) if isinstance(inner, ast.Name)}
    return next((text for word, text in MARKS.items() if word in words), "holds")


def table() -> str:
    """The table in Markdown."""
    rows = ["| no. | given | what the user sees | state | test |", "| --- | --- | --- | --- | --- |"]
    for line in lines():
        cells = (_cell(line.given), _cell(line.seen), line.state, f"`{line.test}`")
        rows.append(f"| {line.number} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def page(current: str) -> str:
    """`current` with the table as it is now."""
    before, rest = current.split(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    made = page(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
    else:
        sys.stdout.write(made)
