"""The fastest form of each network, found before it is timed: its memory format, and activations that work in place.

Contiguous (NCHW) and channels_last (NHWC) are timed against each other, block by block, for each side by itself. What
the protocol settles is left as it says.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.measure.latency.blocks import Side, clock_for
from prunebench.measure.latency.faults import is_lack_of_memory
from prunebench.measure.latency.in_place import in_place
from prunebench.measure.latency.pairs import Pair, time_pair
from prunebench.measure.latency.sides import Comparison, Way, quiet, side
from prunebench.measure.statistics import faster_half
from prunebench.measure.weights import stored
from prunebench.records import LatencyProtocol
from prunebench.samples import Tree

GAIN = 1.03  # channels_last has to be this many times as fast: less may be chance
GROUPS = 4  # of blocks, at least, where the time allows
PRECISION = 0.02  # half-width of the interval at which it stops
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


def channels_last_gain(
    network: nn.Module, x: Tree, protocol: LatencyProtocol, device: torch.device, seed: int, seconds: float
) -> float | None:
    """How many times as fast the network is in channels_last, found in about `seconds`; in inference mode.

    None, at no cost, where neither can matter: without a four-dimensional input or a four-dimensional weight; and
    where the network does not run in channels_last, as with a `view` across channels.
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or all(tensor.ndim != 4 for tensor in stored(network).values()):
        return None
    if protocol.compile:  # what was compiled before counts towards a limit above which nothing is
        torch.compiler.reset()
    plain, last = (side(network, x, protocol, device, Way(channels_last)) for channels_last in (False, True))
    if not _runs(last):
        return None
    pair = Pair(plain, last, clock_for(device, protocol.threads), random.Random(seed))
    blocks = time_pair(pair, GROUPS, seconds, compiled=protocol.compile, precision=PRECISION)
    plain_ms, last_ms = [block.ms for block in blocks.dense], [block.ms for block in blocks.pruned]
    return faster_half(plain_ms) / faster_half(last_ms)  # of all rounds: many are of a single pair


def _runs(side: Side) -> bool:
    try:
        side.call()
    except RuntimeError as error:
        if is_lack_of_memory(error):
            raise
        return False
    return True
