"""What layers answer over the calibration data: statistics that a low-rank fit needs, and the fit itself.

Letters: a layer has weight W (m, n); x is its input vector (a convolution's patch, flattened), y = W x its response
without the bias. X (R, n) and Y (R, m) hold R rows of them, C is a covariance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from prunebench_methods.shared.calibration import EPSILON, Inputs, Moments
from prunebench_methods.shared.importance import ALIKE, Importance
from prunebench_methods.shared.numerics import flattened
from prunebench_methods.shared.replace import Layer

KEPT_BYTES = 1 << 28  # dense responses that are kept for a sweep at most; more are computed layer by layer


@dataclass(frozen=True)
class Responses:
    """Principal directions of a layer's responses: basis (m, k), their variances, largest first, and the mean (m,).

    Directions and variances are those of the centred responses times the root of their importance; only directions in
    which the data varies: k may be smaller than the layer's rank.
    """

    basis: Tensor
    variances: Tensor
    mean: Tensor
    importance: Importance = ALIKE


@dataclass
class Fit:
    """Rows of inputs and of the responses to fit, held whole while they are fewer than the input is wide."""

    width: int
    inputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    row_count: int = 0
    moments: Moments | None = None  # of the inputs, once there are too many rows
    cross: Tensor | float = 0.0  # (m, n) sum of y x'
    target_total: Tensor | float = 0.0  # (m,)

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """Take in rows (k, n) and (k, m)."""
        self.row_count += len(inputs)
        self.inputs.append(inputs)
        self.targets.append(targets)
        if self.row_count > self.width:
            self._sum_up()

    def _sum_up(self) -> None:
        self.moments = self.moments or Moments.empty(self.width, self.inputs[0].device)
        for inputs, targets in zip(self.inputs, self.targets, strict=True):
            targets = targets.double()
            self.moments.add(inputs)
            self.cross = self.cross + targets.T @ inputs.double()
            self.target_total = self.target_total + targets.sum(0)
        self.inputs, self.targets = [], []


@dataclass(frozen=True)
class Solution:
    """A weight (m, n) as `base` + `rest`' `inputs`, (R, m) and (R, n); multiplied out only when asked for."""

    base: Tensor
    rest: Tensor | None = None
    inputs: Tensor | None = None

    def onto(self, basis: Tensor) -> Tensor:
        """basis' (r, m) times the weight."""
        found = basis.T @ self.base
        return found if self.rest is None or self.inputs is None else found + (self.rest @ basis).T @ self.inputs

    def at(self, vector: Tensor) -> Tensor:
        """The weight's response (m,) to an input (n,)."""
        found = self.base @ vector
        return found if self.rest is None or self.inputs is None else found + self.rest.T @ (self.inputs @ vector)

    @property
    def matrix(self) -> Tensor:
        """(m, n)"""
        return self.base if self.rest is None or self.inputs is None else self.base + self.rest.T @ self.inputs


def damped_fit(
    fit: Fit, weight: Tensor, ridge: float, importance: Importance = ALIKE
) -> tuple[Solution, Responses, Tensor]:
    """The weight (m, n) that answers the inputs with the targets, near `weight` where the data says little.

    Returns it with the principal directions of its responses, and the mean of the inputs. It minimizes
    ‖Y - X B'‖²/R + λ‖B - W‖² over centred rows, λ = `ridge` times the mean variance of an input.
    """
    solve = _fit_by_rows if fit.moments is None else _fit_by_moments
    return solve(fit, weight, ridge, importance)


def _fit_by_rows(fit: Fit, weight: Tensor, ridge: float, importance: Importance) -> tuple[Solution, Responses, Tensor]:
    rows = torch.cat(fit.inputs).to(weight.dtype)
    inputs, targets = rows.double(), torch.cat(fit.targets).double()
    mean, target_mean = inputs.mean(0), targets.mean(0)
    inputs, targets = inputs - mean, targets - target_mean
    known = (inputs.to(weight.dtype) @ weight.T).double()  # the one large product, in the layer's own precision
    kernel = inputs @ inputs.T  # (R, R)
    damping = ridge * float(kernel.diagonal().sum()) / inputs.shape[1] or 1.0
    damped = kernel + damping * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    rest = torch.cholesky_solve(targets - known, torch.linalg.cholesky(damped))
    answers = known + kernel @ rest  # (R, m)
    solution = Solution(weight.double(), rest, inputs)
    return solution, principal(answers.T / fit.row_count**0.5, target_mean, importance), mean


def _fit_by_moments(
    fit: Fit, weight: Tensor, ridge: float, importance: Importance
) -> tuple[Solution, Responses, Tensor]:
    assert fit.moments is not None and isinstance(fit.target_total, Tensor)
    mean, target_mean = fit.moments.mean, fit.target_total / fit.row_count
    covariance = fit.moments.second()  # (n, n)
    cross = fit.cross / fit.row_count - torch.outer(target_mean, mean)  # (m, n)
    damping = ridge * float(covariance.diagonal().sum()) / fit.width or 1.0
    covariance.diagonal().add_(damping)
    triangle = torch.linalg.cholesky(covariance)
    solution = torch.cholesky_solve((cross + damping * weight.double()).T, triangle).T
    return Solution(solution), principal(solution @ triangle, target_mean, importance), mean


def principal(answers: Tensor, mean: Tensor, importance: Importance) -> Responses:
    """Principal directions of columns (m, q), from the smaller of the two Gram matrices; those that vary at all."""
    answers = importance.times(answers, 0.5)
    wide = answers.shape[0] <= answers.shape[1]
    variances, vectors = torch.linalg.eigh(answers @ answers.T if wide else answers.T @ answers)
    seen = variances > EPSILON * variances[-1]
    variances, vectors = variances[seen].flip(0), vectors[:, seen].flip(1)
    return Responses(vectors if wide else answers @ (vectors / variances.sqrt()), variances, mean, importance)


def dense_responses_of(layer: Layer, seen: Inputs, importance: Importance) -> Responses:
    """Principal directions of a layer's responses from its inputs, if it is wider than those, or from its outputs."""
    if from_inputs(layer):
        weight = flattened(layer).double()
        return principal(weight @ seen.factor().T, weight @ seen.mean, importance)
    variances, basis = seen.components()
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    if importance is ALIKE:
        return Responses(basis, variances, seen.mean - bias)
    return principal(basis * variances.sqrt(), seen.mean - bias, importance)


def from_inputs(layer: Layer) -> bool:
    """Whether the inputs are the smaller thing to look at."""
    return isinstance(layer, nn.Linear) and layer.out_features > layer.in_features


def responses(layer: nn.Module, outputs: Tensor, chosen: Tensor | None) -> Tensor:
    """(rows, m): the outputs in the order of `patches`, without the bias."""
    if isinstance(layer, nn.Linear):
        rows = outputs.reshape(outputs.shape[:-1].numel(), outputs.shape[-1])  # -1 is unknown where a layer has no rows
    else:
        flat = outputs.flatten(2)  # (B, m, L)
        rows = (flat if chosen is None else flat[:, :, chosen]).transpose(1, 2).flatten(0, 1)
    bias = layer.bias
    return rows - bias.detach() if isinstance(bias, Tensor) else rows
