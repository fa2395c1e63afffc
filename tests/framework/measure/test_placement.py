"""Where networks lie, and that they compute the same after they were moved."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from prunebench.measure.latency import placement as places
from prunebench.measure.latency.blocks import Side
from prunebench.measure.weights import stored
from torch import Tensor, nn


def side_of(seed: int, width: int = 32) -> Side:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(32, width), nn.BatchNorm1d(width), nn.Linear(width, 8)).eval()
    return Side(network, torch.randn(2, 32))


def addresses(side: Side) -> list[int]:
    return [tensor.data_ptr() for tensor in (*stored(side.network).values(), side.x)]


def values(side: Side) -> list[Tensor]:
    return [tensor.clone() for tensor in (*stored(side.network).values(), side.x)]


def test_an_exchange_swaps_places_and_leaves_the_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "PIECE_BYTES", 100)  # that does not divide a tensor
    dense, pruned = side_of(0), side_of(1)
    before = [(addresses(side), values(side), side.network(side.x)) for side in (dense, pruned)]
    with torch.inference_mode():
        assert places.elsewhere(dense, pruned, "exchange", random.Random(0)) == (dense, pruned)
        for side, (_, wanted, output), (theirs, *_) in zip((dense, pruned), before, reversed(before), strict=True):
            assert addresses(side) == theirs
            assert all(torch.equal(one, other) for one, other in zip(values(side), wanted, strict=True))
            assert torch.equal(side.network(side.x), output)


def test_a_moved_network_lies_elsewhere_and_computes_the_same() -> None:
    dense, pruned = side_of(0), side_of(1)
    before, wanted = addresses(dense)[:-1], dense.network(dense.x)
    with torch.inference_mode():
        held = list(dense.network.state_dict().values())  # so that no address is given out again
        assert places.elsewhere(dense, pruned, "move", random.Random(0)) == (dense, pruned)
        assert torch.equal(dense.network(dense.x), wanted)
    assert not set(addresses(dense)[:-1]) & set(before)
    assert len(held) == len(before)


def test_copies_are_new_networks_that_compute_the_same() -> None:
    dense, pruned = side_of(0), side_of(1)
    made = places.elsewhere(dense, pruned, "copy", random.Random(0))
    for old, new in zip((dense, pruned), made, strict=True):
        assert not set(addresses(old)) & set(addresses(new))
        assert torch.equal(old.network(old.x), new.network(new.x))


@pytest.mark.parametrize(
    ("copied", "most", "compiled", "same", "other"),
    [
        (1 << 20, 1 << 20, False, "copy", "copy"),
        (0, 1 << 20, False, "exchange", "copy"),
        (0, 0, False, "exchange", "move"),
        (1 << 20, 1 << 20, True, "exchange", "move"),
    ],
)
def test_how_networks_move_follows_from_their_size_and_their_shapes(
    copied: int, most: int, compiled: bool, same: places.Move, other: places.Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "COPIED_BYTES", copied)
    monkeypatch.setattr(places, "MOST_COPIED_BYTES", most)
    assert places.move_of(side_of(0), side_of(1), compiled) == same
    assert places.move_of(side_of(0), side_of(1, width=16), compiled) == other


def test_tensors_that_share_or_waste_memory_are_not_exchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "COPIED_BYTES", 0)
    shared, sliced = side_of(0), side_of(0)
    shared.network.register_buffer("view", shared.network[0].weight.detach()[:2])
    sliced.network[0].weight = nn.Parameter(torch.randn(64, 32)[:32])
    for side in (shared, sliced):
        assert places.move_of(side, copy.deepcopy(side), compiled=False) == "copy"


def test_size_counts_both_networks() -> None:
    one = 4 * (32 * 32 + 32 + 4 * 32 + 32 * 8 + 8) + 8  # the last: batches that the norm has seen
    assert places.size_of(side_of(0), side_of(1)) == 2 * one


def test_inputs_that_are_laid_out_differently_are_not_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "COPIED_BYTES", 0)
    x = torch.randn(2, 3, 4, 5)
    dense, pruned = (Side(nn.Conv2d(3, 2, 1, bias=False), x.clone()) for _ in range(2))
    assert places.move_of(dense, pruned, compiled=False) == "exchange"
    last = Side(pruned.network, x.contiguous(memory_format=torch.channels_last))
    assert places.move_of(dense, last, compiled=False) == "copy"
