"""Writes docs/applicability.md to standard output, from the cells that the zoo has kept.

python benchmarks/zoo.py --out zoo.json          # resumable; about half an hour of two free cores
python docs/make/applicability.py zoo.json > docs/applicability.md
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

SIGNS = {"ok": "runs", "declined": "declines", "failed": "**fails**", "wrong": "**wrong**", "": "not tried"}
RANK = ("", "wrong", "failed", "ok", "declined")  # of the two settings of a method the first of these is shown
HEAD = """# The zoo

Made by `python docs/make/zoo.py zoo.json` from the cells of `benchmarks/zoo.py`: every installed method at its example
setting and, where it has one, at its loosest setting, on small networks of every kind with fresh weights. *runs*: the
trial is ok, its parameters, nonzeros, MACs and bytes equal an independent count, and at the loosest setting its outputs
are those of the dense network within 1e-3. *declines*: nothing is measured, and the row says why. **fails** and
**wrong** are faults that are known and not yet fixed; *not tried* is an open cell.
"""


def shown(cells: dict[str, Any], network: str, method: str) -> str:
    """What the table says of a network and a method."""
    found = [cells.get(f"{network}/{method}/{setting}", {}).get("status") for setting in ("tight", "loosest")]
    known = [status for status in found if status is not None]
    return SIGNS[min(known or [""], key=RANK.index)]


def page(cells: dict[str, Any]) -> str:
    """The counts, the table (a row per network), and the reasons with the networks they concern."""
    networks, methods, _ = (sorted(set(part)) for part in zip(*(key.split("/") for key in cells), strict=True))
    counts = Counter(cell["status"] for cell in cells.values())
    told = ", ".join(f"{counts[status]:,} {status}" for status in ("ok", "declined", "failed", "wrong"))
    lines = [HEAD, f"{len(networks)} networks, {len(methods)} methods, {len(cells):,} cells: {told}.\n"]
    lines += [f"| network | {' | '.join(f'`{method}`' for method in methods)} |", f"| --- |{' --- |' * len(methods)}"]
    lines += [f"| {n} | {' | '.join(shown(cells, n, method) for method in methods)} |" for n in networks]
    return "\n".join(
        [*lines, "", *_reasons(cells, "Faults", ("failed", "wrong")), *_reasons(cells, "Reasons", ("declined",))]
    )


def _reasons(cells: dict[str, Any], title: str, statuses: tuple[str, ...]) -> list[str]:
    concerned: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key, cell in sorted(cells.items()):
        network, method, _ = key.split("/")
        if cell["status"] in statuses:
            concerned[method, cell["reason"].replace("|", " ")[:200]].add(network)
    rows = [f"- `{method}`: {reason} ({', '.join(sorted(on))})" for (method, reason), on in sorted(concerned.items())]
    return [f"## {title}\n", *(rows or ["None."]), ""]


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
