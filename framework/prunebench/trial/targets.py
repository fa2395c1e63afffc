"""Solving a target (`compression = 4`) for a method's own field, on the method's closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from prunebench.errors import NotApplicable
from prunebench.measure.counts import Counts
from prunebench.plugins.contracts import Method
from prunebench.plugins.parameters import create, field_types
from prunebench.records import Value
from prunebench.shapes import LayerCounts, LayerShape

STEPS = 40  # bisections of a real-valued field
WITHIN = 1.25  # a setting further than this factor from the target is not the target


@dataclass(frozen=True)
class DenseCounts:
    """What the whole dense network has, layers and everything else."""

    parameter_count: int
    mac_count: int | None


def totals(layers: Sequence[LayerCounts], shapes: Sequence[LayerShape], dense: DenseCounts) -> tuple[int, int, int]:
    """Parameters, nonzero parameters and MACs of the whole network that these layers leave."""
    rest = dense.parameter_count - sum(shape.parameter_count for shape in shapes)
    rest_macs = (dense.mac_count or 0) - sum(shape.mac_count for shape in shapes)
    return (
        sum(layer.parameter_count for layer in layers) + rest,
        sum(layer.nonzero_parameter_count for layer in layers) + rest,
        sum(layer.mac_count for layer in layers) + rest_macs,
    )


def closed_form_faults(method: Method, shapes: Sequence[LayerShape], before: Counts, after: Counts) -> list[str]:
    """Where a network of counts `after` departs from what `method` declares of layers `shapes` in one of `before`.

    A method may leave fewer nonzero parameters than it declares. None without a closed form.
    """
    declared = method.counts(shapes)
    if declared is None:
        return []
    if [layer.name for layer in declared] != [shape.name for shape in shapes]:
        return ["counts() must have one entry for every layer, in their order"]
    parameters, nonzero, macs = totals(declared, shapes, DenseCounts(before.parameter_count, before.mac_count))
    faults = []
    if parameters != after.parameter_count:
        faults.append(f"it declared {parameters:,} parameters, the network has {after.parameter_count:,}")
    if after.nonzero_parameter_count > nonzero:
        faults.append(f"it declared {nonzero:,} nonzero parameters, {after.nonzero_parameter_count:,} are")
    if before.mac_count is not None and after.mac_count is not None and macs != after.mac_count:
        faults.append(f"it declared {macs:,} MACs per sample, the network does {after.mac_count:,}")
    return faults


def ratios(layers: Sequence[LayerCounts], shapes: Sequence[LayerShape], dense: DenseCounts) -> dict[str, float]:
    """Both targets as these layers reach them; no speedup where the network's MACs are not known."""
    _, nonzero, macs = totals(layers, shapes, dense)
    reached = {"compression": dense.parameter_count / max(1, nonzero)}
    if dense.mac_count is not None:
        reached["theoretical_speedup"] = dense.mac_count / max(1, macs)
    return reached


def solved(
    cls: type[Method],
    params: dict[str, Value],
    target: dict[str, float],
    shapes: Sequence[LayerShape],
    dense: DenseCounts,
) -> Value:
    """The value of `cls.knob` whose closed form comes closest to `target`; raises `NotApplicable` out of reach."""
    name, wanted = next(iter(target.items()))
    if name == "theoretical_speedup" and dense.mac_count is None:
        raise NotApplicable(f"{name} cannot be solved: the network has operators whose MACs are not known")

    def reached(value: Value) -> float:
        counts = create(cls, {**params, cls.knob: value}).counts(shapes)
        if counts is None:
            raise NotApplicable(f"{name} cannot be solved: these settings have no closed form")
        return ratios(counts, shapes, dense)[name]

    candidates = _candidates(cls, shapes, reached, wanted)
    best: Value = min(candidates, key=lambda value: abs(math.log(max(reached(value), 1e-12) / wanted)))
    achieved = reached(best)
    if not wanted / WITHIN <= achieved <= wanted * WITHIN:
        raise NotApplicable(f"{name} {wanted:g} is out of reach: the nearest is {achieved:.3g} at {cls.knob} {best:g}")
    return best


def _candidates(
    cls: type[Method], shapes: Sequence[LayerShape], reached: Callable[[Value], float], wanted: float
) -> list[Any]:
    kind = field_types(cls)[cls.knob]
    low, high = _bounds(cls, shapes)
    is_whole = kind is int or (int in getattr(kind, "__args__", ()) and float not in getattr(kind, "__args__", ()))
    if is_whole:
        return _around_whole(int(low), int(high), reached, wanted)
    return _around_real(low, high, reached, wanted)


def _bounds(cls: type[Method], shapes: Sequence[LayerShape]) -> tuple[float, float]:
    """The field's own bounds; without an upper one, the largest side of a layer's matrix."""
    metadata = next(item.metadata for item in fields(cls) if item.name == cls.knob)
    sides = [max(s.out_channels, s.weight_count // max(1, s.out_channels)) for s in shapes]
    first: list[Any] = [metadata.get(key) for key in ("at_least", "above") if metadata.get(key) is not None]
    last: list[Any] = [metadata.get(key) for key in ("at_most", "below") if metadata.get(key) is not None]
    low: float = first[0] if first else 1
    if metadata.get("above") is not None:
        low = low + 1e-6
    high: float = last[0] if last else max(sides, default=1)
    if metadata.get("below") is not None:
        high = high - 1e-6
    return low, high


def _around_whole(low: int, high: int, reached: Callable[[Value], float], wanted: float) -> list[int]:
    first, last = low, high
    rising = reached(low) < reached(high)
    while last - first > 1:
        middle = (first + last) // 2
        if (reached(middle) < wanted) == rising:
            first = middle
        else:
            last = middle
    return sorted({low, high, *range(max(low, first - 8), min(high, last + 8) + 1)})


def _around_real(low: float, high: float, reached: Callable[[Value], float], wanted: float) -> list[float]:
    first, last = low, high
    rising = reached(low) < reached(high)
    for _ in range(STEPS):
        middle = (first + last) / 2
        if (reached(middle) < wanted) == rising:
            first = middle
        else:
            last = middle
    return [float(f"{value:.6g}") if low < value < high else value for value in (low, first, last, high)]
