"""Writes what two benchmarks have kept into docs/own-network.md, each between its two marks.

python benchmarks/runtime_speedups.py --out docs/make/runtime_speedups.jsonl
python benchmarks/take_home.py --out docs/make/take_home.jsonl
python docs/make/own_network.py
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MAKE = Path(__file__).parent
PAGE = MAKE.parent / "own-network.md"
RUNTIMES = {
    "torch": "torch",
    "torch_compile": "compiled",
    "torch_export": "exported",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "executorch": "ExecuTorch",
}
HIDDEN = 0.3  # share of the wall time that others took, above which the page says so

Row = dict[str, Any]


def speedups(rows: list[Row]) -> str:
    """A row per pruned network and batch size, a column per runtime; then what was declined, and what it ran on."""
    timed = [row for row in rows if "harness" not in row]
    if not any("speedup" in row for row in timed):
        return "Not measured yet."
    known = [name for name in RUNTIMES if any(row["runtime"] == name and "speedup" in row for row in timed)]
    heads = ["network", "method", "fewer MACs", "batch", *(RUNTIMES[name] for name in known)]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for key in dict.fromkeys((r["network"], r["method"], r["factor"], r["batch"]) for r in timed if "speedup" in r):
        of = {r["runtime"]: r for r in timed if (r["network"], r["method"], r["factor"], r["batch"]) == key}
        reached = next(row["reached"] for row in of.values())
        cells = [told(of.get(name)) for name in known]
        lines.append(f"| {key[0]} | `{key[1]}` | ÷{reached:.2f} | {key[3]} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *reasons(timed), ran_on([row for row in timed if "speedup" in row])])


def told(row: Row | None) -> str:
    """Times faster with its 95 % interval."""
    if row is None:
        return "not tried"
    return f"{row['speedup']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if "speedup" in row else "–"


def reasons(rows: list[Row]) -> Iterator[str]:
    """Why a cell has no number, once for all runtimes."""
    found = dict.fromkeys((r["network"], r["method"], r["factor"], r["why"]) for r in rows if "why" in r)
    for network, method, factor, why in found:
        yield f"- `{method}` on {network} at ÷{factor:g}: {why}"
    if found:
        yield ""


def ran_on(rows: list[Row]) -> str:
    """Days, machine, versions, and how much of the time others took."""
    busy = sum(row["contention"] > HIDDEN for row in rows)
    load = (
        f" The machine was busy: in {busy} of {len(rows)} timings others had more than 30 % of the time."
        if busy
        else ""
    )
    return (
        f"By `python benchmarks/runtime_speedups.py`, {days_and_machines(rows)}. "
        "Torchvision's networks with random weights, 224 × 224, one thread; in brackets 95 % intervals; ÷ is how "
        f"many times fewer multiply-accumulates are left.{load}"
    )


def days_and_machines(rows: list[Row]) -> str:
    """And versions."""
    days, machines = (sorted({row[name] for row in rows}) for name in ("date", "processor"))
    versions = sorted({f"torch {r['torch']}, ONNX Runtime {r['onnxruntime']}, OpenVINO {r['openvino']}" for r in rows})
    return f"{' and '.join(days)}, {'; '.join(machines)}; {'; '.join(versions)}"


def harness(rows: list[Row]) -> str:
    """Where the CPU time of a timing goes."""
    rows = [row for row in rows if "harness" in row]
    if not rows:
        return "Not measured yet."
    heads = [
        "network",
        "runtime",
        "once, CPU s",
        "timing, CPU s",
        "in calls",
        "new sessions",
        "their ends",
        "the harness itself",
    ]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for row in rows:
        shares = (f"{row[name] / row['timing']:.1%}" for name in ("calls", "sessions", "ends", "rest"))
        seconds = f"{row['export']:.2f} | {row['timing']:.2f}"
        lines.append(f"| {row['harness']} | {RUNTIMES[row['runtime']]} | {seconds} | {' | '.join(shares)} |")
    return "\n".join(
        [*lines, "", f"By `python benchmarks/runtime_speedups.py --harness`, {days_and_machines(rows)}; one thread."]
    )


def taken_home(rows: list[Row]) -> str:
    """What was tried of all bundled methods, and the summary of `docs/make/take_home.py`."""
    if not rows:
        return "Not tried yet."
    methods = ", ".join(f"`{name}`" for name in sorted({row["method"] for row in rows}))
    summary = runpy.run_path(str(MAKE / "take_home.py"))["table"](rows)  # by path: a benchmark has the module's name
    return f"{summary.strip()}\n\nMethods: {methods}."


PARTS: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "speedups": ("runtime_speedups.jsonl", speedups),
    "harness": ("runtime_speedups.jsonl", harness),
    "taken home": ("take_home.jsonl", taken_home),
}


def page(text: str) -> str:
    """The page with its parts made anew; raises ValueError where a mark is missing."""
    for name, (stored, made) in PARTS.items():
        begin, end = f"<!-- {name}: python docs/make/own_network.py -->\n", f"<!-- end of {name} -->\n"
        before, first, rest = text.partition(begin)
        _, last, after = rest.partition(end)
        if not first or not last:
            raise ValueError(f"{PAGE.name} lacks {begin.strip()} or {end.strip()}")
        kept = (MAKE / stored).read_text(encoding="utf-8") if (MAKE / stored).exists() else ""
        rows = [json.loads(line) for line in kept.splitlines()]
        text = f"{before}{begin}\n{made(rows)}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
