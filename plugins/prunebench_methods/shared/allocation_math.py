"""What the shares of layers are spread by, from one pass of the dense network.

Letters: a layer has weight W (m, n); x is its input, g the gradient of the loss at its output; a weight w_ij then is
worth w_ij² E[x_j²] E[g_i²] / 2 to the loss, if the others stay (the diagonal of its Kronecker-factored curvature).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.shared.allocation import OUTLYING, Shares, by_influence, by_outliers, by_scores
from prunebench_methods.shared.grams import Gram
from prunebench_methods.shared.importance import importances
from prunebench_methods.shared.influence import block_influences

SAMPLED = 1 << 22  # weights at most that a global ranking looks at: every so many of each layer
ENTROPY = 0.5  # power of the effective rank in Swift's score, and 1 less it of the block's influence


@dataclass(frozen=True)
class Sites:
    """Where shares are to be spread: by name, the weight (g, m, n) and what it reads; `counts` are weights at stake.

    `parts` says what may go, as worths in the order of (g, m, n) entries: by default every weight by itself.
    """

    network: nn.Module
    task: Task
    counts: Mapping[str, int]
    grams: Mapping[str, Gram]
    weight: Callable[[str], Tensor]
    parts: Callable[[Tensor], Tensor] = torch.flatten


def shares_of(allocation: str, keep: float, sites: Sites) -> Shares:
    """Name -> the share that is kept there, all together at most `keep` of the counts."""
    if allocation == "uniform" or keep == 1 or not sites.counts:
        return dict.fromkeys(sites.counts, keep)
    if allocation == "global":
        return _by_worth(sites, keep)
    if allocation == "owl":
        return by_outliers(_outlying(sites), sites.counts, keep)
    influence = {name: block_influence(sites, name) for name in sites.counts}
    if allocation == "influence":
        return by_influence(influence, sites.counts, keep)
    least, most = min(influence.values()), max(influence.values())
    scores = {
        name: (1 + (value - least) / ((most - least) or 1.0)) ** (1 - ENTROPY)
        * _log_effective_rank(sites, name) ** ENTROPY
        for name, value in influence.items()
    }
    return by_scores(scores, sites.counts, keep)


def block_of(task: Task, name: str) -> str:
    """The transformer block that a layer lies in; the layer itself where none is known."""
    blocks = task.anatomy.blocks if task.anatomy is not None else ()
    return next((block.name for block in blocks if name == block.name or name.startswith(f"{block.name}.")), name)


def block_influence(sites: Sites, name: str) -> float:
    """Of the layer's block: 1 − the mean cosine of what goes in and comes out; the mean of all outside of blocks."""
    task = sites.task
    anatomy = task.anatomy
    if anatomy is None:
        raise NotApplicable("the influence of blocks spreads the shares, and the anatomy of this network is not known")
    found = task.once("block influences", lambda: block_influences(sites.network, task, anatomy))
    return found.get(block_of(task, name), sum(found.values()) / len(found))


def wanda_scores(weight: Tensor, gram: Gram) -> Tensor:
    """|W| times the norms of its inputs (g, m, n)."""
    return weight.abs() * gram.diagonal().sqrt()[:, None].to(weight.dtype)


def _outlying(sites: Sites) -> dict[str, float]:
    """Name -> the share of its block's scores that exceed `OUTLYING` times their mean."""
    totals: dict[str, list[float]] = {}
    scored = {name: sampled(wanda_scores(sites.weight(name), sites.grams[name]), sites) for name in sites.counts}
    for name, scores in scored.items():
        total = totals.setdefault(block_of(sites.task, name), [0.0, 0.0, 0.0])
        total[0] += float(scores.double().sum())
        total[1] += len(scores)
    for name, scores in scored.items():
        total = totals[block_of(sites.task, name)]
        total[2] += float((scores > OUTLYING * total[0] / max(1.0, total[1])).sum())
    blocks = {name: totals[block_of(sites.task, name)] for name in sites.counts}
    return {name: over / max(1.0, count) for name, (_, count, over) in blocks.items()}


def sampled(values: Tensor, sites: Sites) -> Tensor:
    """Every so many of the values, flattened, the same share in all layers."""
    step = -(-sum(sites.counts.values()) // SAMPLED)
    return values.flatten()[step // 2 :: step] if values.numel() > step else values.flatten()


def _by_worth(sites: Sites, keep: float) -> Shares:
    """Of each layer the share of its parts that are among the most worth of all, per weight at stake."""
    curvature = importances(sites.network, sites.task, tuple(sites.counts))
    worths = []
    for name, count in sites.counts.items():
        weight, gram = sites.weight(name).double(), sites.grams[name]
        rows = curvature[name].diagonal(weight.flatten(0, 1)).view(weight.shape[:2])
        each = sites.parts(weight.square() * gram.diagonal()[:, None] * rows[..., None])
        step = -(-sum(sites.counts.values()) // SAMPLED) if len(each) > SAMPLED // 64 else 1
        worths.append((each[step // 2 :: step] * (len(each) / count), count))
    return dict(zip(sites.counts, _above(worths, keep), strict=True))


def _above(worths: list[tuple[Tensor, int]], keep: float) -> list[float]:
    """The share of each that is above the one limit at which `keep` of all counts is."""
    flat = torch.cat([each for each, _ in worths])
    price = torch.cat([torch.full_like(each, count / len(each)) for each, count in worths])
    order = flat.argsort(descending=True, stable=True)
    budget = keep * sum(count for _, count in worths)
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[order[price[order].cumsum(0) <= budget]] = True
    parts = kept.split([len(each) for each, _ in worths])
    return [max(float(part.double().mean()), 1 / max(1, count)) for part, (_, count) in zip(parts, worths, strict=True)]


def _log_effective_rank(sites: Sites, name: str) -> float:
    """log of e times the entropy's exponential of the singular values of what the layer answers."""
    weight, gram = sites.weight(name).double(), sites.grams[name]
    entropies = []
    for group, part in enumerate(weight):
        answers = part @ gram.second(group) @ part.T if len(part) <= part.shape[1] else None
        if answers is None:
            values, vectors = torch.linalg.eigh(gram.second(group))
            root = vectors * values.clamp_min(0).sqrt()
            answers = (part @ root).T @ (part @ root)
        energies = torch.linalg.eigvalsh(answers).clamp_min(0).sqrt()
        shares = energies / energies.sum().clamp_min(1e-300)
        entropies.append(float(torch.special.entr(shares).sum()))
    return 1.0 + sum(entropies) / len(entropies)
