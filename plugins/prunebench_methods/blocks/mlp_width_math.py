"""Choosing an MLP's inner channels, and the least-squares refit of the layer that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from prunebench import Mlp, NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.blocks.parts import bias, grams_of_parts, known_anatomy, matrix, rewrite, rewrite_reader
from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.grams import Gram, grams_of
from prunebench_methods.shared.numerics import working


def narrow(method: Any, network: nn.Module, task: Task, shares: Mapping[str, float] | None = None) -> nn.Module:
    """`network` with fewer inner channels in every MLP that its anatomy knows; `shares` by block if they are given."""
    anatomy = known_anatomy(task)
    mlps = {block.name: block.mlp for block in anatomy.blocks if block.mlp is not None}
    if not mlps:
        raise NotApplicable("no block of the network has an MLP whose layers are plain linear maps")
    grams = grams_of_parts(network, task, {name: mlp.down for name, mlp in mlps.items()}, anatomy.head)
    shares = shares or _shares(method, network, task, mlps, anatomy.head)
    for name, mlp in mlps.items():
        kept = method.width(mlp.width, shares[name])
        if kept == mlp.width:
            task.layer(mlp.down.module, left_alone="all of its channels are kept")
            continue
        seen = grams[name].second(0, centred=method.criterion == "fluctuation")
        chosen = choose(method.criterion, kept, seen, matrix(network, mlp.down), task.generator)
        cut(network, mlp, chosen, *repaired(method, grams[name], chosen))
        for part in filter(None, (mlp.up, mlp.gate, mlp.down)):
            task.layer(part.module, rank=kept)
    return network


def _shares(method: Any, network: nn.Module, task: Task, mlps: Mapping[str, Mlp], head: str) -> dict[str, float]:
    """Block -> the share of its channels that is kept."""
    downs = {mlp.down.module: mlp for mlp in mlps.values()}
    grams = grams_of(network, task, downs, until=head)
    held = {name: sum(matrix(network, p).numel() for p in (m.up, m.gate, m.down) if p) for name, m in downs.items()}
    sites = Sites(network, task, held, grams, lambda n: working(matrix(network, downs[n].down))[None], _of_channels)
    found = shares_of(method.allocation, method.keep, sites)
    return {name: found[mlp.down.module] for name, mlp in mlps.items()}


def _of_channels(worths: Tensor) -> Tensor:
    """(n,) of the worths (1, m, n) of weights: what all that read a channel are."""
    return worths.sum((0, 1))


def choose(criterion: str, count: int, moment: Tensor, down: Tensor, generator: torch.Generator) -> Tensor:
    """(count,) channels that are kept, ascending; of equal scores the earlier channel is.

    `moment` (f, f) is that of the channels, or their covariance for the criterion "fluctuation".
    """
    width = len(moment)
    if criterion == "random":
        return torch.randperm(width, generator=generator)[:count].sort().values.to(moment.device)
    if criterion == "leverage":
        ridge = moment.diagonal().mean()
        scores = torch.linalg.solve(moment + ridge * torch.eye(width).to(moment), moment).diagonal()
    else:
        scores = moment.diagonal().clamp(min=0).sqrt() * down.double().norm(dim=0)
    result: Tensor = scores.argsort(descending=True, stable=True)[:count].sort().values
    return result


def refitted(moment: Tensor, chosen: Tensor, ridge: float) -> Tensor:
    """(count, f) in float64: each channel as the kept ones explain it best; W_down times its transpose is the refit.

    Minimises E|z − Mᵀ z[chosen]|² with a ridge; the system is solved symmetric, and no inverse is formed.
    """
    own = moment[chosen][:, chosen]
    damped = own + ridge * own.diagonal().mean().clamp(min=torch.finfo(own.dtype).tiny) * torch.eye(len(own)).to(own)
    factor, failed = torch.linalg.cholesky_ex(damped)
    if int(failed):
        result: Tensor = torch.linalg.lstsq(
            damped, moment[chosen], driver="gelsd" if own.device.type == "cpu" else None
        ).solution
        return result
    return torch.cholesky_solve(moment[chosen], factor)


def repaired(method: Any, gram: Gram, chosen: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What the chosen inputs explain of all (k, n), and the mean (n,) for a bias to answer, or None."""
    moment = gram.second(0, centred=method.repair_mean)
    explained = refitted(moment, chosen, method.ridge) if method.refit else None
    return explained, gram.mean[0] if method.repair_mean else None


def cut(network: nn.Module, mlp: Mlp, chosen: Tensor, explained: Tensor | None, mean: Tensor | None) -> None:
    """Keep the chosen channels of the MLP, in place."""
    for part in filter(None, (mlp.up, mlp.gate)):
        own = bias(network, part)
        rewrite(network, part, matrix(network, part)[chosen], None if own is None else own[chosen])
    rewrite_reader(network, mlp.down, chosen, explained, mean)
