"""What became of each layer of the dense network: a row per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunebench import samples
from prunebench.measure import weights
from prunebench.measure.counts import first_input, macs_by_module
from prunebench.measure.probes import output_of, weight_error
from prunebench.measure.scores import evaluating
from prunebench.records import LayerRecord
from prunebench.samples import Tree
from prunebench.shapes import LayerShape

SAMPLES = 64  # calibration samples for the output error, at most
MAC_BUDGET = 2 * 10**10  # for the output errors of all layers: large networks get fewer samples
UNCHANGED = "unchanged"
NOTED = ("rank", "weight_error", "output_error", "left_alone", "mac_count_after")


@dataclass(frozen=True)
class _Errors:
    weight: float | None = None
    output: float | None = None


def layer_records(
    dense: nn.Module,
    pruned: nn.Module,
    notes: Mapping[str, Mapping[str, Any]],
    calibration: Tree,
    dense_shapes: Sequence[LayerShape],
) -> tuple[LayerRecord, ...]:
    """A record for each of `dense_shapes`, with what stands under the same name in `pruned`.

    A layer that computes otherwise than its class does may hold more, or other numbers than its shape says: its numbers
    are counted before as they are after.

    `notes` is what the method said about a layer, and wins over what is measured here. The output error is relative to
    the dense layer's output on the dense network's own inputs, over at most 64 samples of `calibration`.
    """
    before, after = dict(dense.named_modules()), dict(pruned.named_modules())
    changed = {s.name for s in dense_shapes if not _is_unchanged(before[s.name], after.get(s.name))}
    macs = macs_by_module(pruned, calibration)
    x = samples.rows(calibration, slice(_sample_count(dense_shapes)))
    outputs = _output_errors(dense, {name: after[name] for name in changed if name in after}, x)
    with evaluating(pruned), torch.no_grad():
        return tuple(
            _record(s, before[s.name], after.get(s.name), s.name in changed, macs, outputs, notes.get(s.name, {}))
            for s in dense_shapes
        )


def _sample_count(shapes: Sequence[LayerShape]) -> int:
    macs = sum(shape.mac_count for shape in shapes)
    return min(SAMPLES, max(1, MAC_BUDGET // max(1, 2 * macs)))


def _is_unchanged(before: nn.Module, after: nn.Module | None) -> bool:
    if after is None or _kind(after) is not _kind(before):
        return False
    old, new = weights.stored(before), weights.stored(after)
    return old.keys() == new.keys() and all(weights.same(old[name], new[name]) for name in old)


def _kind(module: nn.Module) -> type[nn.Module]:
    """The class, without what a parametrization makes of it."""
    return parametrize.type_before_parametrizations(module)


def _record(
    shape: LayerShape,
    before: nn.Module,
    after: nn.Module | None,
    is_changed: bool,
    macs: Mapping[str, int | None],
    outputs: Mapping[str, float],
    notes: Mapping[str, Any],
) -> LayerRecord:
    errors = _Errors(0.0, 0.0)
    if is_changed:
        errors = _Errors(weight_error(before, after) if after is not None else None, outputs.get(shape.name))
    facts: dict[str, Any] = {
        "mac_count_after": macs.get(shape.name, 0) if after is not None else None,
        "weight_error": errors.weight,
        "output_error": errors.output,
        "left_alone": "" if is_changed else shape.left_alone or UNCHANGED,
        **{key: notes[key] for key in NOTED if notes.get(key) is not None},
    }
    return LayerRecord(
        name=shape.name,
        kind=shape.kind,
        shape_before=_weight_shape(shape),
        parameter_count_before=_kept(before)["parameter_count_after"] if shape.left_alone else shape.parameter_count,
        mac_count_before=shape.mac_count,
        **_kept(after),
        **facts,
    )


def _weight_shape(shape: LayerShape) -> tuple[int, ...]:
    if shape.kind == "linear":
        return (shape.out_channels, shape.in_channels)
    return (shape.out_channels, shape.in_channels // shape.groups, *shape.kernel)


def _kept(module: nn.Module | None) -> dict[str, Any]:
    """Shapes of the weights (biases and other vectors left out) and counts of what stands in a layer's place."""
    if module is None:
        return {}
    held = [weights.values_of(value) for value in weights.stored(module).values() if _is_weight(value)]
    return {
        "shape_after": tuple(tuple(value.shape) for value in held if value.ndim > 1),
        "parameter_count_after": sum(value.numel() for value in held),
        "nonzero_parameter_count_after": sum(int(torch.count_nonzero(value)) for value in held),
    }


def _is_weight(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex() or value.is_quantized or value.element_size() == 1


def _output_errors(dense: nn.Module, replaced: Mapping[str, nn.Module], x: Tree) -> dict[str, float]:
    """Relative Frobenius error of each replaced layer, summed over its calls, fed as the dense network feeds it."""
    sums: dict[str, Tensor] = {}  # name -> (squared error, squared norm)
    modules = dict(dense.named_modules())

    def compare(name: str, layer_input: Tensor, wanted: Tensor) -> None:
        got = output_of(replaced[name], layer_input)
        if got is not None and got.shape == wanted.shape:
            pair = torch.stack([(got - wanted).double().square().sum(), wanted.double().square().sum()])
            sums[name] = sums.get(name, torch.zeros_like(pair)) + pair

    handles = [
        modules[name].register_forward_hook(
            lambda _, args, options, y, name=name: compare(name, first_input(args, options), y), with_kwargs=True
        )
        for name in replaced
    ]
    try:
        with evaluating(dense), evaluating(nn.ModuleList(replaced.values())), torch.no_grad():
            samples.call(dense, x)
    finally:
        for handle in handles:
            handle.remove()
    return {name: float((pair[0] / pair[1]).sqrt()) for name, pair in sums.items() if pair[1] > 0}
