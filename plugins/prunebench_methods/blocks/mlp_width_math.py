"""Choosing an MLP's inner channels, and the least-squares refit of the layer that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from prunebench import Mlp, NotApplicable, Part, Task
from torch import Tensor, nn

from prunebench_methods.blocks.parts import bias, grams_of_parts, known_anatomy, matrix, rewrite, rewrite_reader
from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.grams import Gram, grams_of
from prunebench_methods.shared.numerics import working
from prunebench_methods.shared.shelf import Kept, kept


def narrow(method: Any, network: nn.Module, task: Task, shares: Mapping[str, float] | None = None) -> nn.Module:
    """`network` with fewer inner channels in every MLP that its anatomy knows; `shares` by block if they are given."""
    anatomy = known_anatomy(task)
    mlps = {block.name: block.mlp for block in anatomy.blocks if block.mlp is not None}
    if not mlps:
        raise NotApplicable("no block of the network has an MLP whose layers are plain linear maps")
    grams = grams_of_parts(network, task, {name: mlp.down for name, mlp in mlps.items()}, anatomy.head)
    shares = shares or _shares(method, network, task, mlps, anatomy.head)
    for name, mlp in mlps.items():
        width = method.width(mlp.width, shares[name])
        if width == mlp.width:
            task.layer(mlp.down.module, left_alone="all of its channels are kept")
            continue
        chosen = _ranked(method.criterion, grams[name], network, mlp, task)[:width].sort().values
        cut(network, mlp, chosen, *repaired(method, network, mlp.down, grams[name], chosen, task))
        for part in filter(None, (mlp.up, mlp.gate, mlp.down)):
            task.layer(part.module, rank=width)
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


def _ranked(criterion: str, gram: Gram, network: nn.Module, mlp: Mlp, task: Task) -> Tensor:
    """(f,) channels of the MLP, the first to be kept first; but for random ones the same for every share."""
    down = matrix(network, mlp.down)
    if criterion == "random":
        return torch.randperm(mlp.width, generator=task.generator).to(down.device)
    centred = criterion == "fluctuation"
    key = ("channels ranked", criterion, mlp.down.module)
    return task.once(key, lambda: ranked(criterion, gram.second(0, centred=centred), down))


def ranked(criterion: str, moment: Tensor, down: Tensor) -> Tensor:
    """(f,) channels, the first to be kept first; of equal scores the earlier channel is.

    `moment` (f, f) is that of the channels, or their covariance for the criterion "fluctuation".
    """
    if criterion == "leverage":
        ridge = moment.diagonal().mean()
        scores = torch.linalg.solve(moment + ridge * torch.eye(len(moment)).to(moment), moment).diagonal()
    else:
        scores = moment.diagonal().clamp(min=0).sqrt() * down.double().norm(dim=0)
    found: Tensor = scores.argsort(descending=True, stable=True)
    return found


def refitted(moment: Tensor, answered: Tensor, ridge: float) -> Tensor:
    """W_S (m, k) in float64 that answers as W does: of least squares, C_SS W_S' = (C W')_S with a ridge on C_SS.

    `moment` (k, k) is C_SS, of the kept inputs z_S, and is overwritten; `answered` (k, m) is (C W')_S. Minimises
    E|W z − W_S z_S|²; the system is solved symmetric, and no inverse is formed.
    """
    moment.diagonal().add_(ridge * moment.diagonal().mean().clamp(min=torch.finfo(moment.dtype).tiny))
    factor, failed = torch.linalg.cholesky_ex(moment)
    if int(failed):
        driver = "gelsd" if moment.device.type == "cpu" else None
        result: Tensor = torch.linalg.lstsq(moment, answered, driver=driver).solution.T
        return result
    half = torch.linalg.solve_triangular(factor.T, answered.T, upper=True, left=False)  # lies as it must: no copy
    solved: Tensor = torch.linalg.solve_triangular(factor, half, upper=False, left=False)
    return solved


def repaired(
    method: Any, network: nn.Module, part: Part, gram: Gram, chosen: Tensor, task: Task
) -> tuple[Tensor | None, Tensor | None]:
    """The part's weight (m, k) refitted to the chosen inputs, ascending, and the mean (n,) for a bias to answer."""
    fit = None
    if method.refit:
        answered = _answered(network, part, gram, method.repair_mean, task).chosen_rows(0, chosen)
        fit = refitted(gram.among(chosen, centred=method.repair_mean), answered, method.ridge)
    return fit, gram.mean[0] if method.repair_mean else None


def _answered(network: nn.Module, part: Part, gram: Gram, centred: bool, task: Task) -> Kept:
    """(n, m) in float64: C W' of the part, the same for every share."""

    def product() -> Kept:
        moment = gram.second(0, centred=centred)
        return kept(task, (moment @ matrix(network, part).to(moment).T,))

    return task.once(("answered", centred, part.module), product)


def cut(network: nn.Module, mlp: Mlp, chosen: Tensor, fit: Tensor | None, mean: Tensor | None) -> None:
    """Keep the chosen channels of the MLP, in place."""
    for part in filter(None, (mlp.up, mlp.gate)):
        own = bias(network, part)
        rewrite(network, part, matrix(network, part)[chosen], None if own is None else own[chosen])
    rewrite_reader(network, mlp.down, chosen, fit, mean)
