"""Writes docs/applicability.md to standard output, from the cells that the zoo has kept.

    python benchmarks/zoo.py --out zoo.json                          # resumable; an hour of two free cores
    python docs/make/zoo.py zoo.json > docs/applicability.md         # several files, of several processes, are one

The test of the page wants every network and every bundled method in it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from prunebench.plugins.discovery import find_installed

SIGNS = {"ok": "runs", "declined": "declines", "failed": "**fails**", "wrong": "**wrong**", "": "not tried"}
RANK = ("", "wrong", "failed", "ok", "declined")  # of the two settings of a method the first of these is shown
HEAD = """# Which method runs where

Made by `python docs/make/zoo.py zoo.json` from the cells of `benchmarks/zoo.py`: every installed method at its example
setting and, where it has one, at its loosest setting, on small networks of every kind with fresh weights. *runs*: the
trial is ok, its parameters, nonzeros, MACs and bytes equal an independent count, and at the loosest setting its outputs
are those of the dense network within 1e-3 (0.0156 in bfloat16). *declines*: nothing is measured, and the row says why;
scripted networks and those whose outputs are no tensor are declined by every trial. **fails** and **wrong** are known
faults; *not tried* is an open cell.
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
    missing = sum(shown(cells, network, method) == SIGNS[""] for network in networks for method in methods)
    still = f" {missing:,} pairs of a network and a method are not tried." if missing else ""
    still += _untried(set(methods))
    lines = [HEAD, f"{len(networks)} networks, {len(methods)} methods, {len(cells):,} cells: {told}.{still}\n"]
    lines += [f"| network | {' | '.join(f'`{method}`' for method in methods)} |", f"| --- |{' --- |' * len(methods)}"]
    lines += [f"| {n} | {' | '.join(shown(cells, n, method) for method in methods)} |" for n in networks]
    return "\n".join(
        [*lines, "", *_reasons(cells, "Faults", ("failed", "wrong")), *_reasons(cells, "Reasons", ("declined",))]
    )


def _untried(tried: set[str]) -> str:
    """Bundled methods that are younger than the cells."""
    bundled = find_installed((), ()).of_kind("method").items()
    younger = sorted(name for name, plugin in bundled if plugin.distribution == "prunebench" and name not in tried)
    named = ", ".join(f"`{name}`" for name in younger if name != "dense" and not name.startswith("peer_"))
    return f" Not tried on any of them yet: {named}." if named else ""


def _reasons(cells: dict[str, Any], title: str, statuses: tuple[str, ...]) -> list[str]:
    concerned: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key, cell in sorted(cells.items()):
        network, method, _ = key.split("/")
        if cell["status"] in statuses:
            concerned[method, cell["reason"].replace("|", " ")[:200]].add(network)
    rows = [f"- `{method}`: {reason} ({', '.join(sorted(on))})" for (method, reason), on in sorted(concerned.items())]
    return [f"## {title}\n", *(rows or ["None."]), ""]


if __name__ == "__main__":
    kept = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    print(page({key: cell for part in kept for key, cell in part.items()}), end="")
