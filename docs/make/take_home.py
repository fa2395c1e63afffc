"""Prints the summary of what `benchmarks/take_home.py` has kept, as Markdown.

    python docs/make/take_home.py take-home.jsonl

A line per network, then one per cell that is not equal everywhere, with by how much or why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TOLERANCE = 1e-4
PLACES = {"saved": "a fresh process", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def table(rows: list[dict[str, Any]]) -> str:
    """How many methods ran, declined, and agree within the tolerance; then what does not."""
    heads = ["network", "methods", "declined", *PLACES.values()]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for network in dict.fromkeys(row["network"] for row in rows):
        of = [row for row in rows if row["network"] == network]
        ran = [row for row in of if "declined" not in row]
        counts = [f"{sum(is_near(row[key]) for row in ran)} of {len(ran)}" for key in PLACES]
        lines.append(f"| `{network}` | {len(of)} | {len(of) - len(ran)} | {' | '.join(counts)} |")
    return "\n".join([*lines, "", *(told for row in rows if (told := apart(row)))])


def apart(row: dict[str, Any]) -> str:
    """What of a cell is not within the tolerance; empty where all is."""
    found = {words: row[key] for key, words in PLACES.items() if key in row and not is_near(row[key])}
    why = "; ".join(f"{words}: {value if isinstance(value, str) else f'{value:.2g}'}" for words, value in found.items())
    own = f"two calls of its own differ by {row['own']:.2g}; " if "own" in row else ""
    return f"- `{row['method']}` on `{row['network']}`: {own}{why}" if found else ""


def is_near(value: float | str) -> bool:
    """A difference within the tolerance; words say why there is none."""
    return not isinstance(value, str) and value <= TOLERANCE


if __name__ == "__main__":
    print(table([json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]))
