"""How one share of all weights is spread over layers: the choices, and shares that add up to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from prunebench import param

ALLOCATIONS = ("uniform", "global", "owl", "influence", "effective_rank")
ALLOCATION_DOC = (
    "one share in all layers; or one budget, spread by what weights are worth to the loss (global), by outlying inputs "
    "(owl: Yin et al., 2023), by what blocks do to the residual stream (influence: Lin et al., 2024), or by that and "
    "effective ranks (effective_rank: Swift-SVD, 2026)"
)
LEAST = 0.1  # of the share: no layer is left with less than this part of it
BISECTIONS = 60
SPAN = 0.08  # of OWL: half of how far shares may lie apart
OUTLYING = 5.0  # times its block's mean score: more is outlying
SOFTNESS = 1.0  # of the block influence, in units of its mean: less of it spreads shares further
FLOOR = 0.5  # of the share, in Swift's allocation: what every layer has

Shares = dict[str, float]


def allocation_param(choices: tuple[str, ...] = ALLOCATIONS) -> str:
    """The field; equal in all methods that can spread a share in all these ways."""
    found: str = param("uniform", ALLOCATION_DOC, choices=choices, additive=True)
    return found


def balanced(at: Callable[[float], Mapping[str, float]], counts: Mapping[str, int], keep: float, low: float) -> Shares:
    """The shares at the level at which all layers together keep `keep` of their `counts` weights, and no more.

    `at` is given a level from `low` on and answers with shares that grow with it; they are cut off at 1 and at `LEAST`
    of `keep`.
    """
    budget = keep * sum(counts.values())

    def cut_off(level: float) -> Shares:
        return {name: min(1.0, max(LEAST * keep, share)) for name, share in at(level).items()}

    def spent(level: float) -> float:
        return sum(share * counts[name] for name, share in cut_off(level).items())

    step = 1.0
    while spent(low + step) <= budget and step < 1e9:
        step *= 2
    high = low + step
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) <= budget else (low, middle)
    return cut_off(low)


def by_outliers(outlying: Mapping[str, float], counts: Mapping[str, int], keep: float) -> Shares:
    """OWL: shares at most 2 · `SPAN` apart, in the order of the layers' shares of outlying scores."""
    least, most = min(outlying.values()), max(outlying.values())
    above = {name: 2 * SPAN * (value - least) / ((most - least) or 1.0) for name, value in outlying.items()}
    return balanced(lambda level: {name: level + more for name, more in above.items()}, counts, keep, -1.0)


def by_influence(influence: Mapping[str, float], counts: Mapping[str, int], keep: float) -> Shares:
    """MoDeGPT: what is removed falls with exp(−influence / ε), ε = `SOFTNESS` of the mean influence."""
    mean = sum(influence.values()) / len(influence) or 1.0
    weight = {name: math.exp(-value / (SOFTNESS * mean)) for name, value in influence.items()}
    most = max(weight.values())
    return balanced(lambda level: {n: 1 - (1 - level) * w / most for n, w in weight.items()}, counts, keep, -1e3)


def by_scores(scores: Mapping[str, float], counts: Mapping[str, int], keep: float) -> Shares:
    """Swift: half of the share to all, the rest in proportion to scores, which are positive."""
    mean = sum(scores.values()) / len(scores) or 1.0
    return balanced(lambda level: {n: FLOOR * keep + level * s / mean for n, s in scores.items()}, counts, keep, 0.0)
