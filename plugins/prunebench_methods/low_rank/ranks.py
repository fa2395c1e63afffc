"""Ranks for all layers of a network: one setting for each, or one budget shared by their spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prunebench import LayerShape, NotApplicable

from prunebench_methods.shared.selection import break_even, full_rank, matrix_shape, rounded_up

BISECTIONS = 40


def macs_at(shape: LayerShape, rank: int) -> int:
    """Multiply-accumulates of the layer as two factors, or as it is where that is less."""
    return min(shape.mac_count, shape.groups * rank * sum(matrix_shape(shape)) * shape.positions)


def ratio_for_speedup(shapes: Sequence[LayerShape], kept: Sequence[str], speedup: float, round_to: int) -> float:
    """The largest rank ratio, the same in all layers but the `kept`, at which MACs are at most dense / speedup.

    Raises `NotApplicable` when no ratio reaches it.
    """

    def macs(ratio: float) -> int:
        return sum(s.mac_count if s.name in kept else macs_at(s, rank_at(s, ratio, round_to)) for s in shapes)

    budget = sum(shape.mac_count for shape in shapes) / speedup
    low, high = 0.0, 1.0
    if macs(low) > budget:
        raise NotApplicable(_out_of_reach(shapes, macs(low), speedup))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if macs(middle) <= budget else (low, middle)
    return low


def rank_at(shape: LayerShape, ratio: float, round_to: int) -> int:
    """The rank for a share of the full one, rounded up."""
    full = full_rank(shape)
    return rounded_up(round(ratio * full), round_to, full)


def shared_budget(
    shapes: Sequence[LayerShape],
    spectra: Mapping[str, Sequence[float]],
    budget: float,
    round_to: int,
) -> dict[str, int | None]:
    """Layer -> rank, None for those better left dense, so that all layers together stay within `budget` MACs.

    `spectra` holds, for each layer that may change, what its components are worth, comparable between layers, largest
    first. Every layer starts with the least rank; then the block of `round_to` components goes in that is worth most
    for a multiply-accumulate, until none fits.
    """
    by_name = {shape.name: shape for shape in shapes}
    ranks = {name: rounded_up(1, round_to, full_rank(by_name[name])) for name in spectra}
    spent = sum(macs_at(s, ranks[s.name]) if s.name in ranks else s.mac_count for s in shapes)
    if spent > budget:
        raise NotApplicable(_out_of_reach(shapes, spent, sum(s.mac_count for s in shapes) / budget))
    growing = dict(ranks)
    while growing:
        name = max(growing, key=lambda n: _worth(by_name[n], spectra[n], ranks[n], round_to))
        shape = by_name[name]
        wider = min(ranks[name] + round_to, full_rank(shape))
        extra = macs_at(shape, wider) - macs_at(shape, ranks[name])
        if spent + extra > budget or extra == 0:
            del growing[name]
            continue
        ranks[name], spent = wider, spent + extra
    return {name: rank if rank <= break_even(by_name[name]) else None for name, rank in ranks.items()}


def _worth(shape: LayerShape, spectrum: Sequence[float], rank: int, round_to: int) -> float:
    """What the next block of components is worth, for a multiply-accumulate."""
    cost = macs_at(shape, rank + round_to) - macs_at(shape, rank)
    return sum(spectrum[rank : rank + round_to]) / cost if cost > 0 else 0.0


def _out_of_reach(shapes: Sequence[LayerShape], least: float, wanted: float) -> str:
    reached = sum(shape.mac_count for shape in shapes) / max(1.0, least)
    return f"theoretical_speedup {wanted:.4g} is out of reach: the smallest ranks give {reached:.3g}"


def uniform_budget(shapes: Sequence[LayerShape], kept: Sequence[str], rank_of: Callable[[LayerShape], int]) -> int:
    """The MACs that these ranks, the `kept` layers dense, come to."""
    return sum(s.mac_count if s.name in kept else macs_at(s, rank_of(s)) for s in shapes)
