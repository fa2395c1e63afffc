"""How one share of all weights is spread over layers by their shapes or their weights alone."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench import LayerShape

from prunebench_methods.shared.exact import kept_count


def erdos_renyi_counts(shapes: Sequence[LayerShape], keep: float) -> list[int]:
    """Survivors of each layer by the Erdős–Rényi kernel rule; together exactly `ceil(keep * n)` of all n weights.

    A layer's share is proportional to (inputs + outputs + kernel sides) / (their product), at most 1 (Evci et al.,
    2020). What a layer cannot take goes to the others in proportion; shares become whole numbers by rounding their
    running sum.
    """
    total = kept_count(keep, sum(shape.weight_count for shape in shapes))
    raw = [_density(shape) * shape.weight_count for shape in shapes]
    full = [False] * len(raw)
    wanted = [0.0] * len(raw)
    while True:
        left = total - sum(shape.weight_count for shape, is_full in zip(shapes, full, strict=True) if is_full)
        free = sum(part for part, is_full in zip(raw, full, strict=True) if not is_full)
        wanted = [
            float(shape.weight_count) if is_full else part * left / free if free else 0.0
            for shape, part, is_full in zip(shapes, raw, full, strict=True)
        ]
        over = [not f and w > shape.weight_count for f, w, shape in zip(full, wanted, shapes, strict=True)]
        if not any(over):
            return _whole(wanted, [shape.weight_count for shape in shapes], total)
        full = [a or b for a, b in zip(full, over, strict=True)]


def _density(shape: LayerShape) -> float:
    sides: tuple[int, ...] = (shape.out_channels, shape.in_channels // shape.groups)
    if shape.kind == "conv2d":
        sides = (*sides, *shape.kernel)
    product = 1
    for side in sides:
        product *= side
    return sum(sides) / max(1, product)


def _whole(wanted: Sequence[float], most: Sequence[int], total: int) -> list[int]:
    """Whole numbers near `wanted`, none above `most`, that add up to `total`."""
    counts, before, running = [], 0, 0.0
    for value, limit in zip(wanted, most, strict=True):
        running += value
        count = min(limit, max(0, round(running) - before))
        counts.append(count)
        before += count
    for place, limit in enumerate(most):  # what rounding has left over
        more = min(total - sum(counts), limit - counts[place])
        counts[place] += max(-counts[place], more)
    return counts
