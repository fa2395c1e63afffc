"""Memory placement of the two networks of a pair, and how it changes between rounds.

A network is faster or slower by percents for what its memory is like: how its pages are strewn over the machine, where
in a page its tensors begin. Moving it does not end that, for the memory that is free is the memory that was given
back. So small networks are copied anew, in random order; two large ones of the same shapes exchange their places, so
that each has what the other had for half of the time.
"""

from __future__ import annotations

import copy
import random
from typing import Literal

import torch
from torch import Tensor

from prunebench import samples
from prunebench.measure.latency.blocks import Side
from prunebench.measure.runtimes.artifact import Runner
from prunebench.measure.weights import byte_count, stored

COPIED_BYTES = 32 << 20  # both networks together: as little is copied even where an exchange would do
MOST_COPIED_BYTES = 512 << 20  # there is no second copy of what is larger
PIECE_BYTES = 1 << 20  # at a time are exchanged, so that the third place is a cache
BYTES_PER_SECOND = 15e9  # of one core that copies to memory that it has used before

Move = Literal["stay", "copy", "exchange", "move"]


def move_of(dense: Side, pruned: Side, compiled: bool) -> Move:
    """How these two are moved between rounds; compiled networks cannot be copied, and others' networks stay."""
    if not (dense.is_own and pruned.is_own):
        return "stay"
    size = size_of(dense, pruned)
    if is_rebuilt(dense):
        return "copy" if size <= MOST_COPIED_BYTES else "stay"
    if size <= COPIED_BYTES and not compiled:
        return "copy"
    if _are_alike(dense, pruned):
        return "exchange"
    return "copy" if size <= MOST_COPIED_BYTES and not compiled else "move"


def size_of(dense: Side, pruned: Side) -> int:
    """Bytes of both networks."""
    if is_rebuilt(dense):
        return sum(side.network.byte_count for side in (dense, pruned) if isinstance(side.network, Runner))
    return sum(byte_count(tensor) for side in (dense, pruned) for tensor in stored(side.network).values())


def is_rebuilt(side: Side) -> bool:
    """Whether another runtime holds the weights: a copy is built from the file, and how long that takes is tried."""
    return isinstance(side.network, Runner)


def elsewhere(dense: Side, pruned: Side, move: Move, rng: random.Random) -> tuple[Side, Side]:
    """Both at other addresses; what is done first gets the better place, so it is drawn who that is."""
    if move == "exchange":
        _exchange(dense, pruned)
    if move == "move":
        for side in rng.sample([dense, pruned], 2):
            _move(side, rng)
    if move != "copy":
        return dense, pruned
    if rng.random() < 0.5:
        made = _copy(dense, rng)
        return made, _copy(pruned, rng)
    made = _copy(pruned, rng)
    return _copy(dense, rng), made


def _copy(side: Side, rng: random.Random) -> Side:
    """A copy behind memory of random size, given back at once."""
    padding = [_padding(rng, samples.leaves(side.x)[0].device) for _ in range(8)]
    x = side.x if is_rebuilt(side) else samples.mapped(Tensor.clone, side.x)  # a session has its input bound
    made = Side(copy.deepcopy(side.network), x)
    del padding
    return made


def _move(side: Side, rng: random.Random) -> None:
    """Every tensor of the network to memory of its own, behind one of random size, given back at once."""
    for tensor in _movable(side):
        padding = _padding(rng, tensor.device)
        tensor.data = tensor.detach().clone(memory_format=torch.preserve_format)
        del padding


def _exchange(dense: Side, pruned: Side) -> None:
    """Every tensor to where the other network's lay, its values with it."""
    for one, other in zip(_exchanged(dense), _exchanged(pruned), strict=True):
        for here, there in zip(_bytes(one).split(PIECE_BYTES), _bytes(other).split(PIECE_BYTES), strict=True):
            held = here.clone()
            here.copy_(there)
            there.copy_(held)
        one.data, other.data = other.data, one.data


def _bytes(tensor: Tensor) -> Tensor:
    """All that its storage holds."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def _are_alike(dense: Side, pruned: Side) -> bool:
    """The same shapes in the same order, and no two tensors share memory: what was exchanged twice would be back."""
    tensors = [*_exchanged(dense), *_exchanged(pruned)]
    alone = len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)
    whole = all(tensor.untyped_storage().nbytes() == byte_count(tensor) for tensor in tensors)
    return alone and whole and _kinds(dense) == _kinds(pruned)


def _kinds(side: Side) -> list[tuple[torch.Size, tuple[int, ...], torch.dtype]]:
    return [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in _exchanged(side)]


def _exchanged(side: Side) -> list[Tensor]:
    return [*_movable(side), *samples.leaves(side.x)]


def _movable(side: Side) -> list[Tensor]:
    every = [tensor for tensor in stored(side.network).values() if tensor.numel()]
    return [tensor for tensor in every if tensor.layout == torch.strided and not tensor.is_quantized]


def _padding(rng: random.Random, device: torch.device) -> Tensor:
    return torch.empty(64 * rng.randrange(1, 2048), dtype=torch.uint8, device=device)
