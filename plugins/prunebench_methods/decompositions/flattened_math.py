"""Flattened convolutions instead of dense ones: the nearest to their filters, or fresh and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from prunebench import Task
from torch import nn

from prunebench_methods.decompositions.als import Settings, composed, fitted, mode_bases
from prunebench_methods.decompositions.chain import blank, chained, relative_error
from prunebench_methods.decompositions.pieces import Factors, Piece
from prunebench_methods.shared.numerics import like, working
from prunebench_methods.shared.replace import replace_module, select_convolutions
from prunebench_methods.shared.rewinding import beginning

BIAS_SPREAD = 0.01  # of fresh biases: not zero, so that what is zero after training was made so


class Plan(NamedTuple):
    """What becomes of each layer: the pieces of its chain, or why it is left alone."""

    pieces: Mapping[str, Sequence[Piece]]
    reasons: Mapping[str, str]


def decomposed(network: nn.Module, task: Task, plan: Plan, sweeps: int) -> nn.Module:
    """Every filter replaced by the nearest product of three vectors, found in at most `sweeps` sweeps."""
    layers = select_convolutions(network, task, plan.reasons)
    for name, layer in layers.items():
        found = rank_one_filters(layer, task.generator, sweeps)
        network = replace_module(network, name, chained(layer, plan.pieces[name], found))
        task.layer(name, rank=1, weight_error=found.error)
    return network


def rank_one_filters(layer: nn.Conv2d, generator: torch.Generator, sweeps: int) -> Factors:
    """Weights across channels (F, C, 1, 1), along columns (F, 1, Y, 1) and along rows (F, 1, 1, X)."""
    kernel = working(layer.weight)
    parts = fitted(kernel, 1, mode_bases(kernel), generator, Settings(0.0, sweeps))
    across, columns, rows = (part[:, :, 0] for part in parts)  # (F, C), (F, Y), (F, X)
    weights = (across[:, :, None, None], columns[:, None, :, None], rows[:, None, None, :])
    return Factors(weights, relative_error(kernel, composed(parts)))


def trained_from_scratch(network: nn.Module, task: Task, plan: Plan, stages: int) -> nn.Module:
    """The initial network with fresh flattened convolutions, trained like the dense one."""
    network.load_state_dict(beginning(network, task))
    layers = select_convolutions(network, task, plan.reasons)
    for name, layer in layers.items():
        modules = [_fresh(layer, piece, task.generator) for piece in plan.pieces[name]]
        network = replace_module(network, name, nn.Sequential(*modules))
        task.layer(name, stages=stages)
    task.fit(network, **task.train_recipe())
    return network


def _fresh(layer: nn.Conv2d, piece: Piece, generator: torch.Generator) -> nn.Conv2d:
    """Weights that keep the variance of what passes, and small biases; without geometry the size is kept."""
    geometry = {} if piece.rows or piece.columns else {"padding": "same"}
    module = blank(layer, piece, bias=True, **geometry)
    fan_in = module.weight[0].numel()
    module.weight = like(torch.randn(module.weight.shape, generator=generator) / fan_in**0.5, layer)
    module.bias = like(BIAS_SPREAD * torch.randn(len(module.weight), generator=generator), layer)
    return module
