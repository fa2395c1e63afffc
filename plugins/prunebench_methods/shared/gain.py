"""Whether what replaces a layer is faster than the layer, measured on the machine that prunes."""

from __future__ import annotations

import statistics
import time

import torch
from prunebench import LayerShape
from torch import Tensor, nn

PAIRS = 7
BLOCK_SECONDS = 5e-4  # a block repeats its call until it is about as long


def too_slow(layer: nn.Module, factors: nn.Module, shape: LayerShape, min_gain: float | None, batch: int) -> str:
    """Why the layer stays dense, or an empty string; also empty where the size of its input is not known."""
    if min_gain is None or (shape.kind == "conv2d" and shape.input_size is None):
        return ""
    found = gain(layer, factors, layer_input(layer, shape, batch))
    return "" if found >= min_gain else f"factors are {found:.2g}x as fast at batch {batch}, not {min_gain:g}x"


def layer_input(layer: nn.Module, shape: LayerShape, batch: int) -> Tensor:
    """Ones in the shape of what the network feeds the layer, in its dtype and on its device."""
    weight = next(layer.parameters())
    if shape.kind == "conv2d":
        assert shape.input_size is not None
        return weight.new_ones(batch, shape.in_channels, *shape.input_size)
    tokens = (shape.positions,) if shape.positions > 1 else ()
    return weight.new_ones(batch, *tokens, shape.in_channels)


def gain(layer: nn.Module, factors: nn.Module, x: Tensor) -> float:
    """The layer's time over its factors': the median of pairs of blocks, the first of a pair in turn."""
    with torch.inference_mode():
        sides = [(module, _calls(module, x)) for module in (layer, factors)]
        ratios = []
        for number in range(PAIRS):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            spent = {side: _seconds(*sides[side], x) for side in order}
            ratios.append(spent[0] / max(spent[1], 1e-9))
    return statistics.median(ratios)


def _calls(module: nn.Module, x: Tensor) -> int:
    """Calls that fill a block, judged by the second call."""
    _seconds(module, 1, x)
    return max(1, int(BLOCK_SECONDS / max(_seconds(module, 1, x), 1e-6)))


def _seconds(module: nn.Module, calls: int, x: Tensor) -> float:
    """Of one call, by CUDA events, the CPU time of this thread, or with several threads the wall."""
    if x.is_cuda:
        return _cuda_seconds(module, calls, x)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    for _ in range(calls):
        module(x)
    return (clock() - started) / calls


def _cuda_seconds(module: nn.Module, calls: int, x: Tensor) -> float:
    with torch.cuda.device(x.device):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        for _ in range(calls):
            module(x)
        last.record()
        last.synchronize()
    return float(first.elapsed_time(last)) / calls / 1e3
