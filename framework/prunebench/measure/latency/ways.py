"""What the protocol leaves to measurement, settled for each side by itself, by the same rules, before it is timed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from prunebench.measure.latency.formats import GAIN, channels_last_gain
from prunebench.measure.latency.in_place import in_place
from prunebench.measure.latency.sides import Comparison, Way, quiet, side
from prunebench.samples import Tree

FORMAT_SHARE = 0.15  # of the time for one batch size, for both sides together


def settled(asked: Comparison) -> tuple[Comparison, dict[str, Any]]:
    """The comparison as it is to be timed, in the time that is left, and what to record of the choice.

    What is as the protocol says, and what is tried where the protocol says so; both networks stay as they are.
    """
    protocol = asked.protocol
    if asked.hold != "copies":  # nothing may be tried on networks that are not ours
        return asked, {}
    if protocol.runtime != "torch":  # formats and activations are torch's own; what an exporter makes of them, it knows
        return asked, {}
    with quiet(protocol.threads):
        dense_way, of_dense = _settled(asked, asked.dense, asked.inputs[0])
        pruned_way, of_pruned = _settled(asked, asked.pruned, asked.inputs[1])
    facts = {f"dense_{name}": value for name, value in of_dense.items()}
    facts |= {f"pruned_{name}": value for name, value in of_pruned.items()}
    was_timed = any(found.get("channels_last_gain") for found in (of_dense, of_pruned))
    left = replace(protocol, max_seconds=protocol.max_seconds * (1 - FORMAT_SHARE * was_timed))
    return replace(asked, protocol=left, ways=(dense_way, pruned_way)), facts


def _settled(asked: Comparison, network: nn.Module, x: Tree) -> tuple[Way, dict[str, Any]]:
    """The format first: whether an activation may overwrite its input can depend on it."""
    protocol, device = asked.protocol, asked.device
    way, facts = Way(protocol.memory_format == "channels_last"), dict[str, Any]()
    if protocol.memory_format == "fastest":
        gain = channels_last_gain(network, x, protocol, device, asked.seed, protocol.max_seconds * FORMAT_SHARE / 2)
        way = Way(gain is not None and gain > GAIN)
        facts |= {"memory_format": "channels_last" if way.channels_last else "contiguous", "channels_last_gain": gain}
    if protocol.in_place:
        found = in_place(side(network, x, replace(protocol, compile=False), device, way))
        way = replace(way, in_place=found.names)
        facts |= {"in_place": found.count, "activations": found.activation_count}
    return way, facts
