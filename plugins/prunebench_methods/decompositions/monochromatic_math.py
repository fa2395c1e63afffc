"""Colour vectors of filters, their clusters, and the two convolutions that come of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from prunebench import Task
from torch import Tensor, nn

from prunebench_methods.decompositions.chain import chained, relative_error
from prunebench_methods.decompositions.pieces import Factors, Piece
from prunebench_methods.shared.equal_clusters import clusters_of
from prunebench_methods.shared.numerics import svd, working
from prunebench_methods.shared.replace import replace_module, select_convolutions


def with_colours(
    network: nn.Module, task: Task, chains: Mapping[str, Sequence[Piece]], reasons: Mapping[str, str], *, equal: bool
) -> nn.Module:
    """The layers in `chains` replaced by their two pieces; the others are recorded with the reason."""
    for name, layer in select_convolutions(network, task, reasons).items():
        pieces = chains[name]
        found = colour_factors(layer, pieces[0].out_channels, task.generator, equal=equal)
        network = replace_module(network, name, chained(layer, pieces, found))
        task.layer(name, rank=pieces[0].out_channels, weight_error=found.error)
    return network


def colour_vectors(kernel: Tensor) -> Tensor:
    """(F, C): the direction in colour space of each filter (F, C, kh, kw), turned so that its sum is positive."""
    left = svd(kernel.flatten(2)).left[:, :, 0]
    return left * torch.where(left.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)


def colour_factors(layer: nn.Conv2d, colours: int, generator: torch.Generator, *, equal: bool) -> Factors:
    """Colours (C', C, 1, 1), filters (F, 1, kh, kw), and the orders around the filters."""
    kernel = working(layer.weight)
    vectors = colour_vectors(kernel)
    codes = clusters_of(vectors, colours, generator, equal=equal).to(kernel.device)
    centres = torch.stack([_centre(vectors[codes == colour], vectors) for colour in range(colours)])  # (C', C)
    own = centres[codes]  # (F, C)
    filters = torch.einsum("fcyx,fc->fyx", kernel, own) / own.square().sum(dim=1)[:, None, None]
    error = relative_error(kernel, torch.einsum("fc,fyx->fcyx", own, filters))
    if not equal:
        return Factors((centres[:, :, None, None], filters[:, None]), error, (None, codes, None))
    order = codes.argsort(stable=True)
    return Factors((centres[:, :, None, None], filters[order][:, None]), error, (None, None, order.argsort()))


def _centre(members: Tensor, all_vectors: Tensor) -> Tensor:
    """The mean direction; that of all filters for a colour without any."""
    mean = (members if len(members) else all_vectors).mean(dim=0)
    result: Tensor = mean / torch.linalg.vector_norm(mean).clamp_min(torch.finfo(mean.dtype).tiny)
    return result
