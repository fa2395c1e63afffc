"""Low-rank fits of layers to their responses, one after another, with ranks given or shared out by their spectra."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.calibration import BATCH, Inputs, call, channel_rows, run_calibration, watched
from prunebench_methods.layers import two_layers
from prunebench_methods.numerics import flattened
from prunebench_methods.pca_math import completed
from prunebench_methods.ranks import shared_budget
from prunebench_methods.replace import Layer, nothing_left, replace_module, select_layers, shapes_by_name
from prunebench_methods.responses import (
    Fit,
    Responses,
    chosen_positions,
    damped_fit,
    dense_responses_of,
    from_inputs,
    patches,
    responses,
)

if TYPE_CHECKING:
    from prunebench_methods.data_aware import DataAwareLowRank


def factorize_by_data(method: DataAwareLowRank, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as two, in order of execution."""
    refused = method.refused(task.shapes)
    if method.allocation == "uniform":
        ranks = method.ranks(task.shapes)
        reasons = method.reasons(task.shapes, ranks)
    else:
        ranks, reasons = _shared_ranks(method, network, task, refused)
    chosen = select_layers(network, task, reasons)
    dense = copy.deepcopy(network) if method.asymmetric else network
    found = {} if method.asymmetric else dense_responses(network, task, tuple(_changeable(refused)))
    for name, layer in chosen.items():
        if method.asymmetric:
            matrix, answer, inputs_mean = _fitted(dense, network, name, task, method.ridge)
            shift = answer.mean - matrix @ inputs_mean
        else:
            matrix, answer = flattened(layer).double(), found[name]
            shift = torch.zeros_like(answer.mean)
        network = replace_module(network, name, _projected(layer, matrix, answer, shift, ranks[name]))
        task.layer(name, rank=ranks[name], output_error=answer.relative_error(ranks[name]))
    return network


def _changeable(refused: dict[str, str]) -> list[str]:
    return [name for name, why in refused.items() if not why]


def _shared_ranks(
    method: DataAwareLowRank, network: nn.Module, task: Task, refused: dict[str, str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Ranks within the method's budget, and why layers are left alone."""
    if all(refused.values()):
        raise NotApplicable(nothing_left(refused))
    found = dense_responses(network, task, tuple(_changeable(refused)))
    spectra = {name: answer.variances.tolist() for name, answer in found.items()}
    ranks = shared_budget(task.shapes, spectra, method.budget(task.shapes), method.round_to)
    kept = "the shared budget leaves it dense"
    reasons = {name: why or ("" if ranks[name] else kept) for name, why in refused.items()}
    return {name: rank for name, rank in ranks.items() if rank}, reasons


def dense_responses(network: nn.Module, task: Task, names: tuple[str, ...]) -> dict[str, Responses]:
    """Principal directions of the responses of the dense layers, once for a whole sweep."""
    return task.once(("responses", names), lambda: _dense_responses(network, task, names))


def _dense_responses(network: nn.Module, task: Task, names: tuple[str, ...]) -> dict[str, Responses]:
    layers: dict[str, Layer] = {name: network.get_submodule(name) for name in names}  # type: ignore[misc]
    found = {name: Inputs() for name in names}

    def see(name: str, inputs: Tensor, outputs: Tensor) -> None:
        value = inputs if from_inputs(layers[name]) else outputs
        found[name].add(channel_rows(value, type(layers[name])))

    with watched(network, names, see):
        run_calibration(network, task)
    return {name: dense_responses_of(layer, found[name]) for name, layer in layers.items()}


def _fitted(
    dense: nn.Module, network: nn.Module, name: str, task: Task, ridge: float
) -> tuple[Tensor, Responses, Tensor]:
    """The weight that answers the pruned network's inputs as the dense layer answers its own."""
    layer: Layer = dense.get_submodule(name)  # type: ignore[assignment]
    shape = shapes_by_name(task)[name]
    width = flattened(layer).shape[1]
    fit = Fit(width, row_limit=width if shape.out_channels <= width else 0)
    chosen = chosen_positions(shape.positions, len(task.calibration), task.seed) if shape.kind == "conv2d" else None
    for images in task.calibration.split(BATCH):
        _, outputs = call(dense, name, images)
        inputs, _ = call(network, name, images)
        fit.add(patches(layer, inputs, chosen), responses(layer, outputs, chosen))
    return damped_fit(fit, flattened(layer), ridge)


def _projected(layer: Layer, matrix: Tensor, answer: Responses, shift: Tensor, rank: int) -> nn.Sequential:
    """W x + b as U U' (W x) + (I - U U') mean + shift + b: exact in the mean of the responses.

    Both factors get the root of the responses' deviations, so that they are of one size.
    """
    basis = completed(answer.basis, rank, matrix.T)
    left, right = _balanced(basis, basis.T @ matrix)
    base = answer.mean - shift  # what the matrix answers to the mean of the inputs
    bias = base - basis @ (basis.T @ base) + shift
    if layer.bias is not None:
        bias = bias + layer.bias.detach().double()
    return two_layers(layer, left, right, bias)


def _balanced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    lengths = (right.norm(dim=1) / left.norm(dim=0).clamp_min(1e-30)).sqrt().clamp_min(1e-30)
    return left * lengths, right / lengths[:, None]
