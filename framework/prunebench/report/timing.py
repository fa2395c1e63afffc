"""How the networks were timed, and what a reader should know of it, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prunebench.report.markup import count, listed

if TYPE_CHECKING:
    import polars as pl

FLAGS = {
    "contended": "other programs took processor time (contended)",
    "other-threads": "the network used threads that the clock of one thread does not see (other-threads)",
    "remembers-inputs": "a network was quicker on an input that it had just seen than on a new one (remembers-inputs)",
    "uneven-calls": "the calls of one side differ, so that its mean is far from its median (uneven-calls)",
    "wall-hidden": "other programs took so much of it that wall times say nothing (wall-hidden)",
    "launch-bound": "the host could not queue the work fast enough (launch-bound)",
    "throttled": "the card slowed itself down (throttled)",
    "few-blocks": "there was time for fewer than ten pairs of blocks (few-blocks)",
    "outputs-differ": "the runtime's outputs are further than the tolerance from torch's (outputs-differ)",
    "no-copies": "there was no room for private copies: the networks themselves were timed, in place (no-copies)",
    "in-turns": "one of the two waited on the host while the other one was timed (in-turns)",
    "one-process": "fresh processes could not load the networks (one-process)",
}


def timed_how(protocols: pl.DataFrame) -> str:
    """`, in bfloat16, compiled`: what is unusual in how the protocols time; nothing for one that is as usual."""
    found = {", ".join(_unusual(settings)): None for settings in protocols["settings"] if settings}
    if len(found) > 1:
        return f", in {len(found)} ways: {'; '.join(words or 'as usual' for words in sorted(found))}"
    return "".join(f", {words}" for words in found if words)


def _unusual(settings: str) -> Iterator[str]:
    """What a protocol's timing differs by from the default, from its JSON."""
    asked: dict[str, Any] = json.loads(settings).get("latency", {})
    if asked.get("dtype", "float32") != "float32":
        yield f"in {asked['dtype']}"
    if asked.get("memory_format", "contiguous") != "contiguous":
        each = "each side in its fastest memory format"
        yield each if asked["memory_format"] == "fastest" else f"in {asked['memory_format']}"
    if asked.get("in_place"):
        yield "activations in place"
    if asked.get("compile"):
        yield "compiled"
    if asked.get("runtime", "torch") != "torch":
        yield f"by {asked['runtime']}{' for any batch size' if asked.get('dynamic_batch') else ''}"
    if asked.get("threads", 1) > 1:
        yield f"on {asked['threads']} threads"
    if asked.get("rounds", 1) > 1:
        yield f"in {asked['rounds']} fresh processes per pair"


def about_flags(flags: Iterable[dict[str, Any]]) -> str:
    """One sentence about flagged timings; empty where none is."""
    rows = list(flags)
    if not rows:
        return ""
    told = [f"in {row['timing_count']:,} {FLAGS.get(row['flag'], row['flag'])}" for row in rows]
    return f"Of {count(rows[0]['total_count'], 'timing')}, {listed(told, most=len(told))}."
