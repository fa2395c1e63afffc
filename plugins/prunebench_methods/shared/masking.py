"""Masks as boolean tensors: exactly so many survivors, ties by position, NaN refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.shared.exact import kept_count
from prunebench_methods.shared.replace import Layer, linear_and_conv_layers, select_layers

OTHER_KINDS = (nn.Conv1d, nn.Conv3d, nn.modules.conv._ConvTransposeNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)


def writable_layers(network: nn.Module, task: Task, reasons: Mapping[str, str]) -> dict[str, Layer]:
    """The layers whose weights may be changed, in order of execution; `reasons` (name -> why not, or "") says which.

    Those left alone are recorded with the reason.

    Raises `NotApplicable` when there is none, or when one holds NaN or infinity.
    """
    layers = linear_and_conv_layers(network)
    _record_other_kinds(network, task)
    return select_layers(network, task, {name: why or _unwritable(layers[name]) for name, why in reasons.items()})


def _unwritable(layer: Layer) -> str:
    """A parametrization computes the weight anew at every use, so that what is written into it is lost."""
    return "" if isinstance(layer.weight, nn.Parameter) else "its weight is computed by a parametrization"


def _record_other_kinds(network: nn.Module, task: Task) -> None:
    for name, module in network.named_modules():
        if isinstance(module, OTHER_KINDS):
            task.layer(name, left_alone=f"{type(module).__name__} is neither a linear layer nor a 2-D convolution")


def highest(scores: Tensor, count: int) -> Tensor:
    """A mask of the shape of `scores` with exactly `count` True: the highest, of equals the first by position."""
    flat = scores.detach().flatten()
    if count >= len(flat):
        return torch.ones_like(scores, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    lowest = _ascending(flat, len(flat) - count)
    above, equal = flat > lowest, flat == lowest
    missing = count - int(above.sum())
    if int(equal.sum()) > missing:
        equal &= equal.cumsum(0) <= missing
    return above.logical_or_(equal).view(scores.shape)


def _ascending(flat: Tensor, position: int) -> Tensor:
    """The entry at `position` (from 0) of `flat` sorted upwards; on CUDA by sorting, which is deterministic there."""
    if flat.device.type != "cpu":
        return flat.sort().values[position]
    exact = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
    return exact.kthvalue(position + 1).values.to(flat.dtype)


def layer_masks(scores: Sequence[Tensor], keep: float) -> list[Tensor]:
    """A mask a tensor, each with `ceil(keep * n)` survivors."""
    return [highest(score, kept_count(keep, score.numel())) for score in scores]


def global_masks(scores: Sequence[Tensor], keep: float) -> list[Tensor]:
    """A mask a tensor, with `ceil(keep * n)` survivors of the n entries of all tensors together."""
    together = torch.cat([score.flatten() for score in scores])
    mask = highest(together, kept_count(keep, len(together)))
    parts = mask.split([score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]


def magnitude_masks(layers: Mapping[str, Layer], keep: float, scope: str) -> list[Tensor]:
    """Masks of the largest weights, of every layer or of all together."""
    scores = [layer.weight.detach().abs() for layer in layers.values()]
    return global_masks(scores, keep) if scope == "global" else layer_masks(scores, keep)


def lamp_scores(weight: Tensor) -> Tensor:
    """w² / (the sum of the squares that are not smaller), float64; of equals the later ones are summed in."""
    squares = weight.detach().double().flatten().square()
    order = squares.argsort(stable=True)
    rising = squares[order]
    behind = rising.flip(0).cumsum(0).flip(0)  # itself and all that come after it
    scores = torch.zeros_like(squares)
    scores[order] = torch.where(behind > 0, rising / behind.clamp_min(torch.finfo(behind.dtype).tiny), 0.0)
    return scores.view(weight.shape)


def apply(layers: Mapping[str, Layer], masks: Iterable[Tensor], task: Task) -> None:
    """Set the weights outside the masks to exactly zero, in place; a layer that loses all of them is noted."""
    for (name, module), mask in zip(layers.items(), masks, strict=True):
        module.weight.detach().masked_fill_(~mask, 0)
        if not bool(mask.any()):
            task.note(f"{name} lost all its weights: what it computes no longer depends on its input")


def random_scores(weights: Sequence[Tensor], generator: torch.Generator, together: bool) -> list[Tensor]:
    """A random order of the entries of each tensor, or of all together: distinct integers, so that no two tie."""
    sizes = [weight.numel() for weight in weights]
    if together:
        parts = torch.randperm(sum(sizes), generator=generator).split(sizes)
    else:
        parts = tuple(torch.randperm(size, generator=generator) for size in sizes)
    return [part.view(weight.shape).to(weight.device) for part, weight in zip(parts, weights, strict=True)]


def survivor_counts(example: nn.Module, layers: Mapping[str, Layer], source: str) -> list[int]:
    """Nonzero weights of each layer's namesake in `example`; raises `NotApplicable` where `source` did not mask it."""
    counts = []
    for name, layer in layers.items():
        weight = dict(example.named_parameters()).get(f"{name}.weight" if name else "weight")
        if weight is None or weight.shape != layer.weight.shape:
            raise NotApplicable(
                f"{source} does not mask {name} but replaces it: it leaves no share of weights to match"
            )
        counts.append(int(torch.count_nonzero(weight)))
    return counts
