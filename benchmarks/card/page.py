"""The part on GPUs of docs/performance.md, from what a run of the steps returned: nothing in it is written by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from card.plan import STEPS
from card.record import OK, read

BEGIN, END = "<!-- made by benchmarks/card.sh page: begin -->", "<!-- made by benchmarks/card.sh page: end -->"
NO_CARD = (
    "No card has run this yet: what follows is the script's own proof on a CPU, at a tenth of the size. "
    "Its ratios are left out, for they say nothing of GPUs."
)
HEADINGS = {
    "timing": "Copies, and 5 % more work",
    "speed": "Speed-up beside multiply-accumulates",
    "decompositions": "Decompositions",
    "decoders": "Decoders",
    "grid": "A grid of small trials",
    "precision": "Types, formats, compiled, graphs",
}
Row = dict[str, Any]


def write_page(results: Sequence[Path], document: Path) -> int:
    """Put the part between its two marks; 2 where something is no result, or the document has no marks."""
    runs = [read(result) for result in results]
    text = document.read_text()
    try:
        if BEGIN not in text or END not in text:
            raise ValueError(f"{document} has no marks")
        if None in runs:
            raise ValueError(f"{results[runs.index(None)]} is no result")
        joined = together([run for run in runs if run])
    except ValueError as error:
        print(f"card: {error}", file=sys.stderr)
        return 2
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    document.write_text(f"{before}{part(joined)}{after}")
    return 0


def together(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each step the last time that it was ok, else the time that found most rows; ValueError where cards differ."""
    kinds = sorted({f"{run['facts']['card']}, {run['scale']} size" for run in runs})
    if len(kinds) > 1:
        raise ValueError(f"the results are of different kinds: {'; '.join(kinds)}")
    steps: dict[str, Any] = {}
    for run in runs:
        for name, found in run["steps"].items():
            held = steps.setdefault(name, found)
            if found["status"] == OK or (held["status"] != OK and len(found["rows"]) > len(held["rows"])):
                steps[name] = found
    return {**runs[0], "steps": steps, "run_count": len(runs)}


def part(joined: dict[str, Any]) -> str:
    """From mark to mark."""
    return "\n".join([BEGIN, "", *_lines(joined), END])


def _lines(joined: dict[str, Any]) -> Iterator[str]:
    facts = joined["facts"]
    if not facts["card"]:
        yield from (NO_CARD, "")
    yield from (_where(facts, joined), "")
    yield from _table(("step", "what", "came to", "checks", "rows", "seconds"), map(_step, _known(joined)))
    for name, heading in HEADINGS.items():
        rows = joined["steps"].get(name, {}).get("rows", [])
        if rows and facts["card"]:
            yield from (f"### {heading}", "")
            yield from MAKERS[name](rows)
    failed = [
        (name, check) for name, found in joined["steps"].items() for check in found["checks"] if not check["holds"]
    ]
    if failed:
        yield from ("### What did not hold", "")
        yield from (f"- {name}: {check['what']}: {_short(check['seen'])}" for name, check in failed)
        yield ""


def _where(facts: dict[str, Any], joined: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if name != "prunebench")
    machine = (
        f"{facts['card']} ({facts['memory_gib']} GiB), driver {facts['driver']}, CUDA {facts['cuda']}"
        if facts["card"]
        else f"CPU, {facts['cores']} cores"
    )
    without = f", without {' and '.join(facts['without'])}" if facts["without"] else ""
    told = f"{facts['date']}, {machine}, Python {facts['python']}, {versions}{without}."
    load = f" The load average was {facts['load_average']:.0f}." if facts["load_average"] > 0.5 * facts["cores"] else ""
    spent = sum(found["seconds"] for found in joined["steps"].values())
    runs = joined.get("run_count", 1)
    several = f" in {runs} calls; of each step the last time that it was ok, else the time that found most" * (runs > 1)
    run = f"The steps took {spent:.0f} s together, {joined['scale']} size{several}; ratios are of pairs in one process."
    return f"{told} {run}{load}"


def _known(joined: dict[str, Any]) -> list[tuple[str, Row]]:
    return [(step.what, joined["steps"][step.name]) for step in STEPS if step.name in joined["steps"]]


def _step(found: tuple[str, Row]) -> tuple[Any, ...]:
    what, step = found
    held = sum(check["holds"] for check in step["checks"])
    why = step["error"].splitlines()[0] if step["error"] and step["status"] != OK else ""
    status = f"{step['status']}: {_short(why)}" if why else step["status"]
    return f"`{step['step']}`", what, status, f"{held} of {len(step['checks'])}", len(step["rows"]), step["seconds"]


def _short(text: str) -> str:
    line = " ".join(str(text).split()).replace("|", "/")
    return line if len(line) <= 160 else f"{line[:157]}…"


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def _ratio(row: Row) -> str:
    mark = " *" if "launch-bound" in row.get("flags", ()) else ""
    return f"{row['speedup']:.2f} [{row['low']:.2f}, {row['high']:.2f}]{mark}"


def _timing(rows: list[Row]) -> Iterator[str]:
    kinds = [row for row in rows if "truth" in row]
    yield from _table(
        ("second network", "truth", "pairs", "median error", "largest error"),
        ((r["kind"], r["truth"], r["pairs"], f"{r['middle_error']:.2%}", f"{r['largest_error']:.2%}") for r in kinds),
    )


def _by_batch(rows: list[Row], keys: tuple[str, ...], ending: str = "") -> Iterator[str]:
    """One line for what `keys` say, a column for each batch size; * marks what waits for the host."""
    batches = sorted({row["batch"] for row in rows})
    cells = {(tuple(row[key] for key in keys), row["batch"]): row for row in rows}
    groups = dict.fromkeys(group for group, _ in cells)
    head = (*keys, *(f"batch {batch}{ending}" for batch in batches))
    yield from _table(
        head,
        (
            (
                *(_plain(value) for value in group),
                *(_ratio(cells[group, b]) if (group, b) in cells else "" for b in batches),
            )
            for group in groups
        ),
    )


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _speed(rows: list[Row]) -> Iterator[str]:
    yield "`macs` is dense over remaining multiply-accumulates; other figures are times as fast, with 95 % intervals;"
    yield "the mark * is of a pair that waits for the host."
    yield ""
    yield from _by_batch(rows, ("model", "method", "macs"))


def _decompositions(rows: list[Row]) -> Iterator[str]:
    names = ("values", "errors", "products", "fits")
    yield from _table(
        ("decomposition", "shape", "differences from float64 or the CPU", "times as fast as the CPU"),
        (
            (
                r["decomposition"],
                "×".join(map(str, r["shape"])),
                ", ".join(f"{name} {r[name]:.1e}" for name in names if name in r),
                f"{r['times_as_fast']:.3g}",
            )
            for r in rows
        ),
    )


def _decoders(rows: list[Row]) -> Iterator[str]:
    yield from _by_batch(rows, ("model", "method", "macs", "way", "dtype"))


def _grid(rows: list[Row]) -> Iterator[str]:
    yield from _table(
        ("trials", "seconds", "trials a minute", "the card was busy, mean"),
        (
            (r["trials"], r["seconds"], r["trials_a_minute"], f"{seen['utilisation_mean_percent']} %")
            for r in rows
            for seen in r["cards"].values()
        ),
    )


def _precision(rows: list[Row]) -> Iterator[str]:
    yield "Times as fast as float32, contiguous and eager; `tf32` off elsewhere."
    yield ""
    yield from _by_batch([row for row in rows if "way" in row], ("model", "way"))
    yield from _table(
        ("protocol", "model", "times as fast"),
        ((r["protocol"], r["model"], _ratio(r)) for r in rows if "protocol" in r),
    )


MAKERS = {
    "timing": _timing,
    "speed": _speed,
    "decompositions": _decompositions,
    "decoders": _decoders,
    "grid": _grid,
    "precision": _precision,
}
