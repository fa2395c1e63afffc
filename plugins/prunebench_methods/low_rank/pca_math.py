"""Rotating chains of linear layers, and projecting the inputs of layers on their principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.low_rank.low_rank_math import components_for
from prunebench_methods.low_rank.pivots import product_layer
from prunebench_methods.shared.calibration import Inputs, chain, layer_inputs
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.layers import geometry, new_conv, new_linear
from prunebench_methods.shared.numerics import svd, working
from prunebench_methods.shared.replace import Layer, nothing_left, replace_module, select_layers, shapes_by_name
from prunebench_methods.shared.selection import refusals, rounded_up

if TYPE_CHECKING:
    from prunebench_methods.low_rank.pca import ActivationPca, WeightPca

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardtanh, nn.Sigmoid, nn.Tanh
)  # fmt: skip
NOTHING = 1e-5  # share of the largest singular value below which a direction of a weight is noise
PASSIVE = (nn.Flatten, nn.Identity, nn.Dropout)


def rotate_weights(method: WeightPca, network: nn.Module, task: Task) -> nn.Module:
    """W_i <- P_i' W_i P_(i-1) and b_i <- P_i' b_i with P_i the components of the columns of W_i."""
    layers = _linear_chain(network, task)
    *inner, last = layers.items()
    rotation: Tensor | None = None
    for name, layer in inner:
        components = _weight_components(task, name, layer, method.variance)
        network = replace_module(network, name, _rotated(layer, components, rotation))
        rotation = components
        task.layer(name, rank=components.shape[1])
    name, layer = last
    network = replace_module(network, name, _rotated(layer, None, rotation))
    task.layer(name, rank=None)
    return network


def _linear_chain(network: nn.Module, task: Task) -> dict[str, nn.Linear]:
    """The linear layers in order, when they are all that the network has beside activations; else `NotApplicable`."""
    for shape in task.shapes:
        if shape.kind != "linear":
            raise NotApplicable(f"weight-space PCA rotates chains of linear layers; {shape.name} is a convolution")
    modules = chain(network, task)
    if modules is None:
        raise NotApplicable("weight-space PCA needs a network that only calls its modules one after another")
    for module in modules:
        if not isinstance(module, (nn.Linear, *ACTIVATIONS, *PASSIVE)):
            raise NotApplicable(f"weight-space PCA cannot rotate through {type(module).__name__}")
    layers = select_layers(network, task, refusals(task.shapes))
    if len(layers) < max(2, len(task.shapes)):
        raise NotApplicable("weight-space PCA needs at least two linear layers, each used once and sharing no weight")
    _warn(modules, list(layers.values()), task)
    return {name: layer for name, layer in layers.items() if isinstance(layer, nn.Linear)}


def _warn(modules: list[nn.Module], layers: list[Layer], task: Task) -> None:
    """Note what makes the printed algorithm unsound on this network."""
    between = modules[modules.index(layers[0]) : modules.index(layers[-1])]
    if found := sorted({type(module).__name__ for module in between if isinstance(module, ACTIVATIONS)}):
        task.note(f"invalid: a rotation of weights does not pass through {', '.join(found)}; see activation_pca")
    if any(layer.weight.shape[0] > layer.weight.shape[1] for layer in layers[:-1]):
        task.note("a layer is wider than the one before, which the algorithm excludes: 100 % variance is not lossless")


def _weight_components(task: Task, name: str, layer: nn.Linear, variance: float) -> Tensor:
    """(m, j): leading left singular vectors of the weight minus the mean of its columns."""

    def decompose() -> tuple[Tensor, Tensor]:
        weight = working(layer.weight)
        found = svd(weight - weight.mean(1, keepdim=True))
        return found.left, found.values

    left, values = task.once(("weight pca", name), decompose)
    return left[:, : components_for(values.double().square(), variance)]


def _rotated(layer: nn.Linear, outputs: Tensor | None, inputs: Tensor | None) -> nn.Linear:
    weight, bias = working(layer.weight), None if layer.bias is None else working(layer.bias)
    if inputs is not None:
        weight = weight @ inputs
    if outputs is not None:
        weight, bias = outputs.T @ weight, None if bias is None else outputs.T @ bias
    return new_linear(layer, weight, bias)


def project_inputs(method: ActivationPca, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer behind the projection of its input on the leading components."""
    shapes = shapes_by_name(task)
    reasons = method.reasons(task.shapes)
    chosen = select_layers(network, task, reasons)
    names = tuple(name for name, why in refusals(task.shapes, "all", grouped=False).items() if not why)
    inputs = layer_inputs(network, task, names)
    for name, layer in chosen.items():
        mean, variances, vectors = _components(task, name, layer, inputs[name])
        rank = method.rank_of(shapes[name])
        if method.variance is not None:
            wanted = components_for(variances, method.variance)
            rank = rounded_up(wanted, method.round_to, shapes[name].in_channels)
            if not method.even_if_larger and (why := method.no_saving(shapes[name], rank)):
                reasons[name] = why
                task.layer(name, left_alone=why)
                continue
        directions = completed(vectors, rank, flattened_inputs(layer))
        new = projected(layer, directions, mean, method.form)
        if why := too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch):
            reasons[name] = why
            task.layer(name, left_alone=why)
            continue
        network = replace_module(network, name, new)
        task.layer(name, rank=rank)
    if all(reasons.values()):
        raise NotApplicable(nothing_left(reasons))
    return network


def _components(task: Task, name: str, layer: Layer, inputs: Inputs) -> tuple[Tensor | None, Tensor, Tensor]:
    """Mean (n,), or None where it has no place; variances (k,), largest first, and their directions (n, k)."""
    centred = has_room_for_mean(layer)
    found = task.once(("input components", name), lambda: inputs.components(centred=centred))
    return (inputs.mean if centred else None, *found)


def flattened_inputs(layer: Layer) -> Tensor:
    """The weight as (everything else, input channels)."""
    return layer.weight.detach().double().transpose(0, 1).flatten(1).T


def completed(directions: Tensor, rank: int, weight: Tensor) -> Tensor:
    """The first `rank` directions (n, k); where data gave fewer, then those the weight (m, n) reads most, then any."""
    if rank <= directions.shape[1]:
        return directions[:, :rank]
    unread = svd((weight - (weight @ directions) @ directions.T).float())
    read = unread.right[unread.values > NOTHING * unread.values[0]]
    wide = torch.cat((directions, read[: rank - directions.shape[1]].T.to(directions)), 1)
    if wide.shape[1] < rank:
        any_other = torch.eye(len(wide), rank).to(wide)
        wide = torch.linalg.qr(torch.cat((wide, any_other), 1))[0][:, :rank]
    return wide


def has_room_for_mean(layer: Layer) -> bool:
    """Whether the response to the inputs' mean can go into the bias: not where a convolution pads with zeros.

    A convolution without a bias is not given one: the norm that follows has it.
    """
    if isinstance(layer, nn.Linear):
        return True
    pads = layer.padding_mode == "zeros" and any(layer._reversed_padding_repeated_twice)
    return layer.bias is not None and not pads


def projected(layer: Layer, vectors: Tensor, mean: Tensor | None, form: str) -> nn.Module:
    """x -> vectors' x -> the layer on their span around the mean; `vectors` (n, r), `form` for a linear one."""
    weight = layer.weight.detach().double()
    narrow = torch.einsum("oi...,ir->or...", weight, vectors)
    bias = None if layer.bias is None else layer.bias.detach().double()
    if mean is not None:
        rest = mean - vectors @ (vectors.T @ mean)
        response = weight.flatten(2).sum(2) @ rest if weight.ndim == 4 else weight @ rest
        bias = response if bias is None else bias + response
    if isinstance(layer, nn.Linear):
        return product_layer(layer, narrow, vectors.T, bias, form)
    before = new_conv(layer, vectors.T[:, :, None, None])
    return nn.Sequential(before, new_conv(layer, narrow, bias, **geometry(layer)))
