"""What the protocol leaves to measurement, settled for each side by itself, by the same rules, before it is timed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.measure.formats import GAIN, channels_last_gain
from prunebench.measure.in_place import in_place
from prunebench.measure.sides import Way, Ways, quiet, side
from prunebench.records import LatencyProtocol

FORMAT_SHARE = 0.15  # of the time for one batch size, for both sides together


@dataclass(frozen=True)
class Settled:
    """How each side is timed, the seconds left for it, and what to record of the choice."""

    ways: Ways
    seconds: float
    facts: dict[str, Any]


def settled(
    dense: nn.Module, pruned: nn.Module, x: Tensor, protocol: LatencyProtocol, device: torch.device, seed: int
) -> Settled:
    """What is as the protocol says, and what is tried where the protocol says so; both networks stay as they are."""
    with quiet(protocol.threads):
        dense_way, of_dense = _settled(dense, x, protocol, device, seed)
        pruned_way, of_pruned = _settled(pruned, x, protocol, device, seed)
    facts = {f"dense_{name}": value for name, value in of_dense.items()}
    facts |= {f"pruned_{name}": value for name, value in of_pruned.items()}
    was_timed = any(found.get("channels_last_gain") for found in (of_dense, of_pruned))
    return Settled((dense_way, pruned_way), protocol.max_seconds * (1 - FORMAT_SHARE * was_timed), facts)


def _settled(
    network: nn.Module, x: Tensor, protocol: LatencyProtocol, device: torch.device, seed: int
) -> tuple[Way, dict[str, Any]]:
    """The format first: whether an activation may overwrite its input can depend on it."""
    way, facts = Way(protocol.memory_format == "channels_last"), dict[str, Any]()
    if protocol.memory_format == "fastest":
        gain = channels_last_gain(network, x, protocol, device, seed, protocol.max_seconds * FORMAT_SHARE / 2)
        way = Way(gain is not None and gain > GAIN)
        facts |= {"memory_format": "channels_last" if way.channels_last else "contiguous", "channels_last_gain": gain}
    if protocol.in_place:
        found = in_place(side(network, x, replace(protocol, compile=False), device, way))
        way = replace(way, in_place=found.names)
        facts |= {"in_place": found.count, "activations": found.activation_count}
    return way, facts
