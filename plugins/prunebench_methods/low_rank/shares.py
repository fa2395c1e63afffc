"""One budget of weights for all layers, spent where it is worth most."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction

from prunebench import LayerShape, NotApplicable

from prunebench_methods.low_rank.forms import weights_at
from prunebench_methods.shared.selection import full_rank

FIRST, STEP = 16, 8  # ranks that a layer begins with, and that it is offered at once
PARTS = 32  # of the full rank, which steps of smaller layers are


def shared_parameters(
    shapes: Sequence[LayerShape], spectra: Mapping[str, Sequence[float]], keep: float, form: str
) -> dict[str, int | None]:
    """Layer -> rank, None for those better left dense: all together have at most `keep` of the layers' weights.

    `spectra` is what each component of a layer is worth, comparable between layers, largest first. Every layer begins
    with few components; then the step goes in that is worth most for a weight, until none fits. A step at which the
    product would be no smaller than the layer makes it dense.
    """
    budget = int(Fraction(repr(float(keep))) * sum(shape.weight_count for shape in shapes))
    by_name = {shape.name: shape for shape in shapes}
    ranks: dict[str, int | None] = {s.name: max(1, min(FIRST, full_rank(s) // PARTS)) for s in shapes}
    spent = sum(_weights(by_name[name], rank, form) for name, rank in ranks.items())
    if spent > budget:
        least = spent / sum(shape.weight_count for shape in shapes)
        raise NotApplicable(f"keep {keep:g} is out of reach: the smallest ranks keep {least:.3g} of the weights")
    heap = [_offer(by_name[name], spectra[name], rank or 0, form) for name, rank in ranks.items()]
    heapq.heapify(heap)
    while heap:
        _, name, wider, extra = heapq.heappop(heap)
        if spent + extra > budget:
            continue
        ranks[name], spent = wider, spent + extra
        if wider is not None:
            heapq.heappush(heap, _offer(by_name[name], spectra[name], wider, form))
    return ranks


def _weights(shape: LayerShape, rank: int | None, form: str) -> int:
    return shape.weight_count if rank is None else weights_at(shape, rank, form)


def _offer(shape: LayerShape, spectrum: Sequence[float], rank: int, form: str) -> tuple[float, str, int | None, int]:
    """What a weight more is worth (negative, for a heap), the layer, its next rank or None for dense, the weights."""
    wider: int | None = rank + max(1, min(STEP, full_rank(shape) // PARTS))
    if wider is None or wider >= full_rank(shape) or weights_at(shape, wider, form) >= shape.weight_count:
        wider = None
    extra = _weights(shape, wider, form) - _weights(shape, rank, form)
    gained = sum(spectrum[rank:wider])
    return -gained / max(1, extra), shape.name, wider, extra
