"""The table of docs/measuring.md, from the rows that `latency_aa.py` keeps."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from prunebench.measure.statistics import verdict

PLANTED = 0.05
Row = dict[str, Any]


def rows_in(text: str) -> list[Row]:
    """From JSON lines."""
    return [json.loads(line) for line in text.splitlines() if line]


def summary(rows: list[Row]) -> str:
    """The table of docs/measuring.md: a line for each network, truth and protocol."""
    groups: dict[tuple[str, int, bool, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["model"], row["batch"], row["planted"], row["way"]].append(row)
    head = ("network", "batch", "truth", "protocol", "repeats", "standard deviation", "off by 5 % or more",
            "says faster or slower", "interval covers the truth", "seconds, mean (max)")  # fmt: skip
    lines = [head, ("---",) * len(head), *(_line(*key, found) for key, found in sorted(groups.items()))]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *_weather(rows)])


def _weather(rows: list[Row]) -> Iterator[str]:
    """How busy the machine was, and how often the planted difference was found while it was so."""
    load = [row["load"] for row in rows]
    yield f"{os.cpu_count()} cores, load average {min(load):.1f} to {max(load):.1f}"
    planted = [row for row in rows if row["planted"] and "verdict" in row]
    for model in sorted({row["model"] for row in planted}):
        for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 1.0)):
            of_it = [row for row in planted if row["model"] == model and low <= row["contention"] < high]
            found = [row["verdict"] == "slower" for row in of_it]
            weather = f"`{model}`, others ran {low:.0%} to {high:.0%} of the time"
            if found:
                yield f"{weather}: planted difference found in {_share(found)} of {len(found)}"
    for batch in sorted({row["batch"] for row in rows if row["model"] == "large_fcn"}):
        rows_of_it = [row for row in rows if (row["model"], row["batch"]) == ("large_fcn", batch)]
        slower = [_says_slower(row, PLANTED) for row in rows_of_it]
        claim = f"`large_fcn` at batch {batch}, had its copy taken {PLANTED:.0%} longer"
        yield f"{claim}: found in {_share(slower)} of {len(slower)}"


def _says_slower(row: Row, planted: float) -> bool:
    """What would have been said of a network that takes so much longer: noise is a factor as well."""
    shifted = (row[key] / (1 + planted) for key in ("speedup", "low", "high"))
    return verdict(*shifted) == "slower"


def _line(model: str, batch: int, planted: bool, way: str, rows: list[Row]) -> tuple[str, ...]:
    off = [row["speedup"] / row["truth"] for row in rows]
    claims = [row["verdict"] != "can't tell" for row in rows if "verdict" in row]
    covers = [row["low"] <= row["truth"] <= row["high"] for row in rows if "low" in row]
    return (
        f"`{model}`",
        str(batch),
        "20/21" if planted else "1",
        way,
        str(len(rows)),
        f"{100 * statistics.pstdev(math.log(value) for value in off):.2f} %",
        _share([abs(math.log(value)) >= 0.05 for value in off]),
        _share(claims),
        _share(covers),
        f"{statistics.mean(row['seconds'] for row in rows):.2f} ({max(row['seconds'] for row in rows):.2f})",
    )


def _share(found: list[bool]) -> str:
    return f"{100 * sum(found) / len(found):.1f} %" if found else ""
