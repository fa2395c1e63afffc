"""Choosing channels that represent the others, and teaching the layers that read them to do without the rest.

Letters: a group has C channels, k of them kept; a Gram matrix (C, C) is the mean of a·a' over samples and positions of
what a reader sees, after normalisation and activation; Z (k, C) predicts all channels from the kept ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor, nn

from prunebench_methods.channels.channel_graph import Group, Slot
from prunebench_methods.shared.numerics import working

BATCH = 64  # images a forward pass of the calibration
ROWS = 16_384  # samples times positions that a Gram matrix is averaged over, at least
ROWS_A_CHANNEL = 16
RIDGE = 1e-6  # of the regression on kept channels, relative to their mean square
RIDGE_FOR_ROWS = 1e-2  # the same, times channels over rows: few rows say little about many channels
SILENT = 1e-9  # share of the mean energy below which a channel has nothing left to explain


def reader_grams(
    network: nn.Module, groups: Sequence[Group], images: Tensor, generator: torch.Generator
) -> dict[Slot, Tensor]:
    """The Gram matrix of every reader of every group in float64, over random positions where there are many.

    Their diagonals hold the ridge of the regressions that follow.
    """
    widths = {slot: group.width for group in groups for slot in group.readers}
    sums = {slot: torch.zeros(width, width, dtype=torch.float64) for slot, width in widths.items()}
    counts = dict.fromkeys(widths, 0)

    def see(slot: Slot, entries: Tensor) -> None:
        share = -(-_wanted_rows(widths[slot]) * len(entries) // len(images))
        rows = working(_sampled(slot_rows(entries, slot, widths[slot]), share, generator))
        sums[slot] += (rows.T @ rows).double().cpu()
        counts[slot] += len(rows)

    handles = [
        network.get_submodule(slot.module).register_forward_pre_hook(lambda _, inputs, slot=slot: see(slot, inputs[0]))
        for slot in widths
    ]
    with torch.no_grad():
        for batch in images.split(BATCH):
            network(batch)
    for handle in handles:
        handle.remove()
    return {slot: _regularized(total, counts[slot]) for slot, total in sums.items()}


def _regularized(total: Tensor, rows: int) -> Tensor:
    """The mean over rows, its diagonal raised by what so few rows cannot tell from nothing."""
    gram = total / max(rows, 1)
    ridge = max(RIDGE, RIDGE_FOR_ROWS * len(gram) / max(rows, 1)) * gram.diagonal().mean()
    return gram + ridge.clamp_min(torch.finfo(gram.dtype).tiny) * torch.eye(len(gram), dtype=gram.dtype)


def slot_rows(entries: Tensor, slot: Slot, channels: int) -> Tensor:
    """What a reader sees of a group, one row per sample and position: (rows, C)."""
    part = entries[:, slot.offset : slot.offset + channels * slot.repeat]
    if entries.ndim == 2:
        return part.reshape(len(entries), channels, slot.repeat).transpose(1, 2).reshape(-1, channels)
    return part.permute(0, 2, 3, 1).reshape(-1, channels)


def _wanted_rows(channels: int) -> int:
    return max(ROWS, ROWS_A_CHANNEL * channels)


def _sampled(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if len(rows) <= count:
        return rows
    return rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)]


class Order(NamedTuple):
    """Channels in the order in which they are chosen, and what the readers miss with the first k: `missing[k]`.

    A reader that sees nothing misses 1.
    """

    channels: Tensor
    missing: list[float]


def strongest(gram: Tensor, readers: int) -> Order:
    """The pivots of the Cholesky factorization with complete pivoting; what is missing is of the trace, a reader."""
    factor, pivots, rank, _ = lapack.dpstrf(gram.numpy(), lower=1)
    columns = np.tril(factor)
    columns[:, rank:] = 0
    explained = np.cumsum((columns**2).sum(axis=0))
    left = 1 - np.concatenate(([0.0], explained)) / max(float(gram.diagonal().sum()), 1e-300)
    missing = [readers * share for share in np.clip(left, 0, 1).tolist()]
    return Order(torch.from_numpy(pivots - 1).long(), missing)


def weighted(grams: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """One Gram matrix for all readers, each channel times the norm of the weights that read it.

    Readers count alike whatever the size of what they see. The norms are those of all readers together, so that
    channels which depend on one another keep doing so.
    """
    seen, norms = torch.zeros_like(grams[0]), torch.zeros(len(grams[0]), dtype=grams[0].dtype)
    for gram, weight in zip(grams, weights, strict=True):
        response = (gram.diagonal() * weight.diagonal()).sum().clamp_min(1e-300)
        seen += gram / gram.diagonal().sum().clamp_min(1e-300)
        norms += weight.diagonal() * gram.diagonal().sum() / response
    return seen * norms.sqrt()[:, None] * norms.sqrt()


def most_telling(grams: Sequence[Tensor], weights: Sequence[Tensor]) -> Order:
    """Channels one by one, each the one that explains most of what the readers' responses still miss.

    `weights` are the readers' products of weights (C, C), summed over outputs and taps of the kernel.
    """
    left = [gram.clone() for gram in grams]
    products = [gram @ weight for gram, weight in zip(grams, weights, strict=True)]
    totals = [product.diagonal().sum().clamp_min(1e-300) for product in products]
    quiet = [SILENT * gram.diagonal().mean() for gram in grams]
    chosen: list[int] = []
    missing = [float(len(grams))]
    for _ in range(len(grams[0])):
        score = torch.zeros(len(grams[0]), dtype=grams[0].dtype)
        for gram, product, total, least in zip(left, products, totals, quiet, strict=True):
            gain = (product * gram).sum(dim=1) / gram.diagonal().clamp_min(least) / total
            score += torch.where(gram.diagonal() > least, gain, 0.0)
        score[chosen] = -1
        chosen.append(int(score.argmax()))
        for gram, product, weight, least in zip(left, products, weights, quiet, strict=True):
            _deflate(gram, product, weight, chosen[-1], float(least))
        unmet = sum(float(product.diagonal().sum() / total) for product, total in zip(products, totals, strict=True))
        missing.append(min(missing[-1], max(unmet, 0.0)))
    return Order(torch.tensor(chosen), missing)


def _deflate(gram: Tensor, product: Tensor, weight: Tensor, pivot: int, least: float) -> None:
    """Take what channel `pivot` explains out of a Gram matrix, and out of its product with the weights, in place."""
    column = gram[:, pivot].clone()
    if column[pivot] > least:
        product -= torch.outer(column, (weight @ column) / column[pivot])
        gram -= torch.outer(column, column / column[pivot])


def predictor(gram: Tensor, kept: Tensor) -> Tensor:
    """Z (k, C): all channels from the kept ones, by least squares; exactly the identity on the kept ones."""
    inner = gram[kept][:, kept]
    lower, failed = torch.linalg.cholesky_ex(inner)
    if failed:  # kept channels that are silent or depend on each other: the smallest of the solutions
        result: Tensor = torch.linalg.pinv(inner, hermitian=True) @ gram[kept]
    else:
        result = torch.cholesky_solve(gram[kept], lower)
    result[:, kept] = torch.eye(len(kept), dtype=result.dtype)
    return result


def unexplained(gram: Tensor, kept: Tensor, mixture: Tensor) -> float:
    """Share of the channels' energy that `mixture` (k, C) does not predict from the kept ones."""
    total = gram.diagonal().sum()
    predicted = (mixture * gram[kept]).sum()
    return float(((total - predicted) / total).clamp_min(0))
