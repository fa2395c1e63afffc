"""Refitting the layers of a shrunken network, first to last, to what the dense ones answered.

Letters: a layer reads n numbers a position (channels times kernel taps, and a one for the bias) and writes T.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.numerics import like, working

BATCH = 64  # images a forward pass
ROWS = 8192  # samples times positions a regression, at least
ROWS_A_NUMBER = 8
RIDGE = 1e-3  # pull towards the weights as they are, relative to the mean square of what the layer reads


Answers = dict[str, list[tuple[Tensor, Tensor]]]  # layer -> for each batch its places, and the outputs there (rows, T)


class _Stop(Exception):
    """Ends a forward pass at the layer it was run for."""


def row_count(layer: nn.Module) -> int:
    """Rows that determine the layer's numbers well."""
    return max(ROWS, ROWS_A_NUMBER * working(layer.weight)[0].numel())  # type: ignore[arg-type]


def dense_answers(
    dense: nn.Module, names: Sequence[str], kept: Mapping[str, Tensor], images: Tensor, generator: torch.Generator
) -> Answers:
    """Random places of every layer's outputs, and what the dense network answers there.

    `kept` names the outputs that a layer will still have; without an entry it has all.
    """
    found: Answers = {name: [] for name in names}

    def see(name: str, layer: nn.Module, output: Tensor) -> None:
        rows = output.movedim(1, -1).reshape(-1, output.shape[1])
        share = -(-row_count(layer) * len(output) // len(images))
        if share < len(rows):
            places = torch.randint(len(rows), (share,), generator=generator).to(rows.device)
        else:
            places = torch.arange(len(rows), device=rows.device)
        answers = rows[places]
        found[name].append((places, answers[:, kept[name]] if name in kept else answers))

    def hook(name: str) -> Any:
        return lambda layer, _, output: see(name, layer, output)

    handles = [dense.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    with torch.no_grad():
        for batch in images.split(BATCH):
            dense(batch)
    for handle in handles:
        handle.remove()
    return found


def refit(network: nn.Module, answers: Answers, norms: Mapping[str, str], images: Tensor) -> None:
    """Every layer of `answers` in turn, on the inputs that the refitted ones before it produce; in place.

    `norms` names the batch norm behind a layer, which takes over the constant of a layer without a bias.
    """
    for name, seen in answers.items():
        layer = network.get_submodule(name)
        norm = network.get_submodule(norms[name]) if name in norms else None
        has_constant = layer.bias is not None or getattr(norm, "running_mean", None) is not None
        constant = _solve(layer, *_moments(network, layer, seen, images, has_constant), has_constant)
        if layer.bias is not None:
            layer.bias = like(constant, layer)
        elif has_constant:
            norm.running_mean -= constant.to(norm.running_mean)  # type: ignore[union-attr,operator]


def _moments(
    network: nn.Module,
    layer: nn.Module,
    seen: list[tuple[Tensor, Tensor]],
    images: Tensor,
    has_constant: bool,
) -> tuple[Tensor, Tensor]:
    """X'X (n, n) and X'Y (n, T) over all places, in float64."""
    left = right = torch.zeros((), dtype=torch.float64, device=images.device)
    for batch, (places, wanted) in zip(images.split(BATCH), seen, strict=True):
        rows = working(_read_rows(layer, _input_of(network, layer, batch), places))
        rows = torch.cat((rows, rows.new_ones(len(rows), 1)), dim=1) if has_constant else rows
        left = left + (rows.T @ rows).double()
        right = right + (rows.T @ working(wanted)).double()
    return left, right


def _input_of(network: nn.Module, layer: nn.Module, batch: Tensor) -> Tensor:
    caught: list[Tensor] = []

    def stop(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise _Stop

    handle = layer.register_forward_pre_hook(stop)
    try:
        with torch.no_grad():
            network(batch)
    except _Stop:
        pass
    finally:
        handle.remove()
    return caught[0]


def _read_rows(layer: nn.Module, entries: Tensor, places: Tensor) -> Tensor:
    """What the layer's weights meet at these places: (rows, in · kh · kw)."""
    return (_patches(layer, entries) if isinstance(layer, nn.Conv2d) else entries)[places]


def _patches(layer: nn.Conv2d, entries: Tensor) -> Tensor:
    """(samples · positions, channels · kh · kw), in the order of the weight's entries."""
    top, left = layer._reversed_padding_repeated_twice[2:], layer._reversed_padding_repeated_twice[:2]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(entries, [*left, *top], mode=mode)
    found = functional.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    return found.transpose(1, 2).flatten(0, 1)


def _solve(layer: nn.Module, left: Tensor, right: Tensor, has_constant: bool) -> Tensor:
    """Sets the weight; returns the constant to be added to the outputs, zeros without one."""
    weight = working(layer.weight)  # type: ignore[arg-type]
    now = weight.flatten(1).double()
    if has_constant:
        bias = now.new_zeros(len(now)) if layer.bias is None else working(layer.bias).double()  # type: ignore[arg-type]
        now = torch.cat((now, bias[:, None]), dim=1)
    pull = RIDGE * left.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    ridge = pull * torch.eye(len(left), dtype=left.dtype, device=left.device)
    found = torch.linalg.solve(left + ridge, right + pull * now.T).T
    size = weight[0].numel()
    layer.weight = like(found[:, :size].reshape(weight.shape), layer)
    return found[:, -1] if has_constant else found.new_zeros(len(found))
