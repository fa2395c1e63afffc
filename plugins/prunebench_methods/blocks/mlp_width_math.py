"""Choosing an MLP's inner channels, and the least-squares refit of the layer that reads them."""

from __future__ import annotations

from typing import Any

import torch
from prunebench import Mlp, NotApplicable, Part, Task
from torch import Tensor, nn

from prunebench_methods.blocks.parts import bias, calibrate, known_anatomy, matrix, rewrite


def narrow(method: Any, network: nn.Module, task: Task) -> nn.Module:
    """`network` with fewer inner channels in every MLP that its anatomy knows."""
    anatomy = known_anatomy(task)
    mlps = {block.name: block.mlp for block in anatomy.blocks if block.mlp is not None}
    if not mlps:
        raise NotApplicable("no block of the network has an MLP whose layers are plain linear maps")
    head = "" if anatomy.head == "" or any(mlp.down.module == anatomy.head for mlp in mlps.values()) else anatomy.head
    moments = task.once("moments of MLPs", lambda: second_moments(network, task, mlps, head))
    for name, mlp in mlps.items():
        kept = method.width(mlp.width)
        if kept == mlp.width:
            task.layer(mlp.down.module, left_alone="all of its channels are kept")
            continue
        moment = moments[name]
        chosen = choose(method.criterion, kept, moment, matrix(network, mlp.down), task.generator)
        cut(network, mlp, chosen, refitted(moment, chosen, method.ridge) if method.refit else None)
        for part in filter(None, (mlp.up, mlp.gate, mlp.down)):
            task.layer(part.module, rank=kept)
    return network


def second_moments(network: nn.Module, task: Task, mlps: dict[str, Mlp], head: str = "") -> dict[str, Tensor]:
    """By block: the uncentred second moment (f, f) of what the MLP's last layer reads, in float64."""
    return moments_of(network, task, {name: mlp.down for name, mlp in mlps.items()}, head)


def moments_of(network: nn.Module, task: Task, parts: dict[str, Part], head: str = "") -> dict[str, Tensor]:
    """By name: the uncentred second moment (n, n) of what a part reads, in float64, from one pass.

    Products of one batch are taken in float32 or better, outside of autocast, and added up in float64.
    """
    sums = {}
    counts = dict.fromkeys(parts, 0)
    for name, part in parts.items():
        like = matrix(network, part)
        sums[name] = torch.zeros(like.shape[1], like.shape[1], dtype=torch.float64, device=like.device)

    def watcher(name: str) -> Any:
        def watch(x: Tensor) -> None:
            with torch.autocast(x.device.type, enabled=False):
                rows = x.detach().reshape(-1, x.shape[-1])
                rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
                sums[name] += (rows.T @ rows).double()
            counts[name] += len(rows)

        return watch

    calibrate(network, task, {part.module: watcher(name) for name, part in parts.items()}, head)
    return {name: total / counts[name] for name, total in sums.items()}


def choose(criterion: str, count: int, moment: Tensor, down: Tensor, generator: torch.Generator) -> Tensor:
    """(count,) channels that are kept, ascending; of equal scores the earlier channel is."""
    width = len(moment)
    if criterion == "random":
        return torch.randperm(width, generator=generator)[:count].sort().values.to(moment.device)
    if criterion == "leverage":
        ridge = moment.diagonal().mean()
        scores = torch.linalg.solve(moment + ridge * torch.eye(width).to(moment), moment).diagonal()
    else:
        scores = moment.diagonal().clamp(min=0).sqrt() * down.double().norm(dim=0)
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def refitted(moment: Tensor, chosen: Tensor, ridge: float) -> Tensor:
    """(count, f) in float64: each channel as the kept ones explain it best; W_down times its transpose is the refit.

    Minimises E|z − Mᵀ z[chosen]|² with a ridge; the system is solved symmetric, and no inverse is formed.
    """
    own = moment[chosen][:, chosen]
    damped = own + ridge * own.diagonal().mean().clamp(min=torch.finfo(own.dtype).tiny) * torch.eye(len(own)).to(own)
    factor, failed = torch.linalg.cholesky_ex(damped)
    if int(failed):
        return torch.linalg.lstsq(damped, moment[chosen], driver="gelsd" if own.device.type == "cpu" else None).solution
    return torch.cholesky_solve(moment[chosen], factor)


def cut(network: nn.Module, mlp: Mlp, chosen: Tensor, explained: Tensor | None) -> None:
    """Keep the chosen channels of the MLP, in place."""
    for part in filter(None, (mlp.up, mlp.gate)):
        own = bias(network, part)
        rewrite(network, part, matrix(network, part)[chosen], None if own is None else own[chosen])
    down = matrix(network, mlp.down)
    narrower = down[:, chosen] if explained is None else (down.double() @ explained.T.to(down.device)).to(down.dtype)
    rewrite(network, mlp.down, narrower, bias(network, mlp.down))
