"""Writes docs/applicability.md to standard output: every bundled method on every bundled model, tried.

    python docs/make/applicability.py [DATABASE] > docs/applicability.md

Runs a grid of every method's example setting on every model with fresh weights and small images (resumable: give a
database to keep), and shows what became of each cell. Takes three quarters of an hour of two busy cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import prunebench
from prunebench.grid.grid import Grid
from prunebench.plugins.discovery import find_installed

SIZES = {"alexnet": 64, "resnet50": 64, "densenet121": 64, "torchvision": 64}
SIGNS = {"ok": "runs", "skipped": "declines", "timeout": "over 10 minutes"}
PROTOCOL = """
name = "applicability"
[protocol]
train = { epochs = 0 }
calibration = 64
evaluation_limit = 32
latency = { batch = [] }
[run]
timeout = "10m"
[[block]]
dataset = "digits"
seed = 0
"""


def bundled(kind: str):
    """Plugins of this distribution, by name."""
    return {n: p.cls for n, p in sorted(find_installed().of_kind(kind).items()) if p.distribution == "prunebench"}


def line(name: str, settings: dict) -> str:
    """`{ use = "name", field = value }`."""
    fields = "".join(f", {key} = {json.dumps(value)}" for key, value in settings.items())
    return f'{{ use = "{name}"{fields} }}'


def grid() -> Grid:
    """Every bundled method's example on every bundled model."""
    models = [line(name, {"image_size": SIZES[name]} if name in SIZES else {}) for name in bundled("model")]
    methods = [line(name, dict(cls.example)) for name, cls in bundled("method").items() if not name.startswith("peer_")]
    return Grid.parse(f"{PROTOCOL}model = [{', '.join(models)}]\nmethod = [{', '.join(methods)}]\n")


def mark(status: str) -> str:
    """A status as the table shows it."""
    return SIGNS.get(status, f"**{status}**")


def page(database: Path) -> str:
    """The table and the reasons."""
    prunebench.run(grid(), db=database, report=False)
    rows = prunebench.open_results(database).query(
        "select method, model, status, reason from trials order by method, model"
    )
    cells = {(method, model): (status, reason) for method, model, status, reason in rows.iter_rows()}
    models = sorted({model for _, model in cells})
    text = "# Which method runs where\n\nMade by `python docs/make/applicability.py > docs/applicability.md`: every "
    text += "bundled method at its example setting on every\nbundled model with fresh weights (images of 64×64 for the "
    text += "large ones). A method that declines says why.\n\n"
    text += f"| method | {' | '.join(models)} |\n| --- |{' --- |' * len(models)}\n"
    for method in sorted({method for method, _ in cells}):
        marks = [mark(cells.get((method, model), ("not tried", ""))[0]) for model in models]
        text += f"| `{method}` | {' | '.join(marks)} |\n"
    text += "\n## Reasons\n\n"
    for (method, model), (status, reason) in sorted(cells.items()):
        if status != "ok":
            text += f"- `{method}` on `{model}`: {reason[:200].replace('|', ' ')}{'…' if len(reason) > 200 else ''}\n"
    return text


def main() -> None:
    """Print the page."""
    if len(sys.argv) > 1:
        print(page(Path(sys.argv[1])), end="")
        return
    with tempfile.TemporaryDirectory() as folder:
        print(page(Path(folder) / "results.duckdb"), end="")


if __name__ == "__main__":
    main()
