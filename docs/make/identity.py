"""Writes the table of docs/identity.md, between its two marks, from the rows that `benchmarks/identity.py` has kept.

python benchmarks/identity.py --out docs/make/identity.json && python docs/make/identity.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "identity.md"
STORED = Path(__file__).parent / "identity.json"
BEGIN = "<!-- table: python docs/make/identity.py -->\n"
END = "<!-- end of table -->\n"
sys.path.insert(0, str(DOCS.parent / "benchmarks"))

HEAD = """
| the same trials, | promised | because | the same, tried | accuracy differs by, at most | loss by |
| --- | --- | --- | --- | --- | --- |
"""
FOOT = """
Tried by `python benchmarks/identity.py` {dates}, torch {torch}, {processor}: LeNet-5 on the digits, trained, pruned in
two ways, fine-tuned, two seeds. Compared are the dense network's hash, the loss to its last bit, accuracy, nonzero
parameters and every single answer.
"""


def line(way: dict[str, Any], by_words: dict[str, dict[str, Any]]) -> str:
    """The row of one way."""
    from identity import compared

    begin = f"| {way['words']} | {way['promise']} | {way['why']} |"
    if not way["rows"]:
        return f"{begin} not tried: {way['lacks']} | – | – |"
    same, count, accuracy, loss = compared(way["rows"], by_words[way["like"]]["rows"])
    return f"{begin} {same} of {count} | {accuracy:.4f} | {loss:.2g} |"


def table(stored: dict[str, Any]) -> str:
    """The rows, and what they are of."""
    by_words = {way["words"]: way for way in stored["ways"]}
    lines = [line(way, by_words) for way in stored["ways"]]
    days = sorted({way["date"] for way in stored["ways"] if way["date"]})
    dates = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    return HEAD + "\n".join(lines) + "\n" + FOOT.format(dates=dates, **stored["facts"]) + "\n"


def page(text: str, stored: dict[str, Any]) -> str:
    """The page with its table made anew; raises ValueError where a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} lacks {BEGIN.strip()} or {END.strip()}")
    return before + BEGIN + table(stored) + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), json.loads(STORED.read_text())))
