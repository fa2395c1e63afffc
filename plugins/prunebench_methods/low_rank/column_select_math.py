"""Choosing input columns and interpolating the others from them.

Letters: F (q, n) is a factor of the inputs' covariance, F' F; W (m, n) the weight, S the chosen columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.low_rank.pca_math import flattened_inputs, has_room_for_mean
from prunebench_methods.shared.calibration import Inputs, layer_inputs
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.layers import geometry, new_conv, new_linear
from prunebench_methods.shared.replace import Layer, nothing_left, replace_module, select_layers, shapes_by_name
from prunebench_methods.shared.selection import refusals

if TYPE_CHECKING:
    from prunebench_methods.low_rank.column_select import ColumnSelect

GONE = 1e-9  # share of the largest variance below which the chosen columns already explain a column


def select_columns(method: ColumnSelect, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer behind a selection of its inputs."""
    shapes = shapes_by_name(task)
    reasons = method.reasons(task.shapes)
    chosen = select_layers(network, task, reasons)
    names = tuple(name for name, why in refusals(task.shapes, "all", grouped=False).items() if not why)
    inputs = layer_inputs(network, task, names)
    for name, layer in chosen.items():
        factor, mean, order = _prepared(task, name, layer, inputs[name])
        kept = order[: method.columns_of(shapes[name])].sort().values
        weight = interpolated(flattened_inputs(layer), factor, kept, method.ridge)
        new = _narrowed(layer, weight, kept, mean)
        if why := too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch):
            reasons[name] = why
            task.layer(name, left_alone=why)
            continue
        network = replace_module(network, name, new)
        task.layer(name, rank=len(kept))
    if all(reasons.values()):
        raise NotApplicable(nothing_left(reasons))
    return network


def _prepared(task: Task, name: str, layer: Layer, inputs: Inputs) -> tuple[Tensor, Tensor | None, Tensor]:
    """Factor, mean (None where a mean cannot go into the bias) and all columns in the order of their choice."""
    centred = has_room_for_mean(layer)

    def compute() -> tuple[Tensor, Tensor]:
        factor = inputs.factor(centred=centred)
        return factor, pivot_order(factor * torch.linalg.vector_norm(flattened_inputs(layer), dim=0))

    factor, order = task.once(("columns", name), compute)
    return factor, inputs.mean if centred else None, order


def pivot_order(factor: Tensor) -> Tensor:
    """All columns of F (q, n): each next is the one that those before explain least; the explained ones by their norm.

    Pivoted Cholesky of F' F, which is never formed. In float32: an order needs no more.
    """
    factor = factor.float()
    left = torch.linalg.vector_norm(factor, dim=0).square()
    by_norm = left.argsort(descending=True, stable=True)
    floor = GONE * float(left.max())
    steps = min(factor.shape)
    triangle = factor.new_zeros(steps, factor.shape[1])
    order: list[int] = []
    for step in range(steps):
        pivot = int(left.argmax())
        if float(left[pivot]) <= floor:
            break
        row = factor[:, pivot] @ factor - triangle[:step, pivot] @ triangle[:step]
        triangle[step] = row / left[pivot].sqrt()
        left -= triangle[step].square()
        left[pivot] = -1.0
        order.append(pivot)
    chosen = torch.tensor(order, dtype=torch.long, device=factor.device)
    return torch.cat((chosen, by_norm[~torch.isin(by_norm, chosen)]))


def interpolated(weight: Tensor, factor: Tensor, kept: Tensor, ridge: float) -> Tensor:
    """(m, k): the weight on the kept columns that answers most like W (m, n), near W_S where the data says little.

    It minimizes ‖F W' - F_S B'‖² + λ‖B - W_S‖², λ = `ridge` times the mean of the diagonal of F' F.
    """
    start, some = weight[:, kept], factor[:, kept]
    missed = factor @ weight.T - some @ start.T  # (q, m)
    damping = ridge * float(factor.square().sum()) / factor.shape[1] or 1.0
    if some.shape[0] < some.shape[1]:
        kernel = some @ some.T
        kernel.diagonal().add_(damping)
        change = some.T @ torch.cholesky_solve(missed, torch.linalg.cholesky(kernel))
    else:
        gram = some.T @ some
        gram.diagonal().add_(damping)
        change = torch.cholesky_solve(some.T @ missed, torch.linalg.cholesky(gram))
    return start + change.T


def _narrowed(layer: Layer, weight: Tensor, kept: Tensor, mean: Tensor | None) -> Selected:
    """The layer on its kept inputs; what it answers to the mean stays exact where there is one."""
    old = flattened_inputs(layer)
    bias = None if layer.bias is None else layer.bias.detach().double()
    if mean is not None:
        change = old @ mean - weight @ mean[kept]  # (m·kernel,)
        change = change.reshape(layer.weight.shape[0], -1).sum(1)
        bias = change if bias is None else bias + change
    if isinstance(layer, nn.Linear):
        return Selected(kept, -1, new_linear(layer, weight, bias))
    kernel = weight.reshape(layer.out_channels, *layer.kernel_size, len(kept)).permute(0, 3, 1, 2)
    return Selected(kept, 1, new_conv(layer, kernel, bias, **geometry(layer)))


class Selected(nn.Module):
    """A layer on some of its inputs: `kept` (k,) along `axis`."""

    kept: Tensor

    def __init__(self, kept: Tensor, axis: int, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.axis, self.layer = axis, layer
        self.register_buffer("kept", kept.clone())

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.layer(input.index_select(self.axis, self.kept))
        return result
