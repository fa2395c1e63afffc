"""Which memory format a network is faster in: contiguous (NCHW) or channels_last (NHWC), timed block by block."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from prunebench.measure.latency.blocks import Side, clock_for
from prunebench.measure.latency.faults import is_lack_of_memory
from prunebench.measure.latency.pairs import Pair, time_pair
from prunebench.measure.latency.sides import Way, side
from prunebench.measure.statistics import faster_half
from prunebench.measure.weights import stored
from prunebench.records import LatencyProtocol
from prunebench.samples import Tree

GAIN = 1.03  # channels_last has to be this many times as fast: less may be chance
GROUPS = 4  # of blocks, at least, where the time allows
PRECISION = 0.02  # half-width of the interval at which it stops


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
