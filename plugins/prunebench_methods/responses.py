"""What layers answer over the calibration data: statistics that a low-rank fit needs, and the fit itself.

Letters: a layer has weight W (m, n); x is its input vector (a convolution's patch, flattened), y = W x its response
without the bias. X (R, n) and Y (R, m) hold R rows of them, C is a covariance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.calibration import Moments, channel_rows
from prunebench_methods.numerics import flattened
from prunebench_methods.replace import Layer

ROWS = 1 << 17  # of patches at most that a convolution's inputs are sampled by
CHUNK = 1 << 24  # entries of unfolded patches held at once


@dataclass(frozen=True)
class Responses:
    """Principal directions of a layer's responses: basis (m, k), their variances, largest first, and the mean (m,)."""

    basis: Tensor
    variances: Tensor
    mean: Tensor

    def relative_error(self, rank: int) -> float:
        """Frobenius norm of the centred responses that `rank` directions miss, relative."""
        total = float(self.variances.sum())
        return (float(self.variances[rank:].sum()) / total) ** 0.5 if total > 0 else 0.0


@dataclass
class Fit:
    """Rows of inputs and of the responses to fit, held whole while they are fewer than the input is wide."""

    width: int
    row_limit: int
    inputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    joint: Moments | None = None  # of (x, y) side by side, once there are too many rows
    row_count: int = 0

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """Take in rows (k, n) and (k, m)."""
        self.row_count += len(inputs)
        if self.joint is None and self.row_count <= self.row_limit:
            self.inputs.append(inputs)
            self.targets.append(targets)
            return
        if self.joint is None:
            self.joint = Moments.empty(inputs.shape[1] + targets.shape[1], inputs.device)
            for pair in zip(self.inputs, self.targets, strict=True):
                self.joint.add(torch.cat(pair, 1))
            self.inputs, self.targets = [], []
        self.joint.add(torch.cat((inputs, targets), 1))


def damped_fit(fit: Fit, weight: Tensor, ridge: float) -> tuple[Tensor, Responses, Tensor]:
    """The weight (m, n) that answers the inputs with the targets, near `weight` where the data says little.

    Returns it with the principal directions of its responses, and the mean of the inputs. It minimizes
    ‖Y - X B'‖²/R + λ‖B - W‖² over centred rows, λ = `ridge` times the mean variance of an input.
    """
    solve = _fit_by_rows if fit.joint is None else _fit_by_moments
    return solve(fit, weight.double(), ridge)


def _fit_by_rows(fit: Fit, weight: Tensor, ridge: float) -> tuple[Tensor, Responses, Tensor]:
    inputs, targets = torch.cat(fit.inputs).double(), torch.cat(fit.targets).double()
    mean, target_mean = inputs.mean(0), targets.mean(0)
    inputs, targets = inputs - mean, targets - target_mean
    kernel = inputs @ inputs.T  # (R, R)
    damping = ridge * float(kernel.diagonal().sum()) / inputs.shape[1] or 1.0
    kernel.diagonal().add_(damping)
    rest = torch.cholesky_solve(targets - inputs @ weight.T, torch.linalg.cholesky(kernel))
    solution = weight + rest.T @ inputs
    answers = inputs @ solution.T  # (R, m)
    gram = answers.T @ answers + damping * wide_gram(solution)
    return solution, _directions(gram / fit.row_count, target_mean), mean


def _fit_by_moments(fit: Fit, weight: Tensor, ridge: float) -> tuple[Tensor, Responses, Tensor]:
    assert fit.joint is not None
    n = fit.width
    joint, mean = fit.joint.second(), fit.joint.mean
    covariance, cross = joint[:n, :n], joint[n:, :n]  # (n, n), (m, n)
    damping = ridge * float(covariance.diagonal().sum()) / n or 1.0
    covariance = covariance + damping * torch.eye(n, dtype=covariance.dtype, device=covariance.device)
    triangle = torch.linalg.cholesky(covariance)
    rest = torch.cholesky_solve((cross + damping * weight).T, triangle)
    solution = rest.T
    return solution, directions_through(solution, triangle, mean[n:]), mean[:n]


def directions_through(weight: Tensor, root: Tensor, mean: Tensor) -> Responses:
    """Principal directions of W root root' W', from the smaller of its two Gram matrices; `root` (n, n)."""
    scaled = weight @ root  # (m, n)
    if scaled.shape[0] <= scaled.shape[1]:
        return _directions(scaled @ scaled.T, mean)
    found = _directions(scaled.T @ scaled, mean)
    lengths = found.variances.sqrt()
    basis = scaled @ found.basis / lengths.clamp_min(1e-12 * float(lengths[0]) or 1.0)
    return Responses(basis, found.variances, mean)


def _directions(gram: Tensor, mean: Tensor) -> Responses:
    variances, basis = torch.linalg.eigh(gram)
    return Responses(basis.flip(1), variances.flip(0).clamp_min(0), mean)


def wide_gram(weight: Tensor) -> Tensor:
    """W W' (m, m) in float32: it only decides between directions that the data leaves open."""
    short = weight.float()
    return (short @ short.T).double()


def responses_from_outputs(outputs: Moments, layer: Layer, ridge: float) -> Responses:
    """Principal directions of the responses from moments of the layer's outputs, which carry its bias."""
    matrix = flattened(layer)
    gram = wide_gram(matrix)
    covariance = outputs.second()
    damping = ridge * float(covariance.diagonal().sum()) / max(float(gram.diagonal().sum()), 1e-30)
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return _directions(covariance + damping * gram, outputs.mean - bias)


def responses_from_inputs(inputs: Moments, layer: Layer, ridge: float) -> Responses:
    """The same from moments of a linear layer's inputs, for layers much wider than their inputs."""
    covariance = inputs.second()
    damping = ridge * float(covariance.diagonal().sum()) / len(covariance) or 1.0
    covariance.diagonal().add_(damping)
    weight = flattened(layer).double()
    return directions_through(weight, torch.linalg.cholesky(covariance), weight @ inputs.mean)


def patches(layer: Layer, inputs: Tensor, chosen: Tensor | None) -> Tensor:
    """(rows, n): the vectors that the layer multiplies by its weight; a convolution's at the `chosen` positions."""
    if isinstance(layer, nn.Linear):
        return channel_rows(inputs, nn.Linear)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(inputs, list(layer._reversed_padding_repeated_twice), mode=mode)
    entries = padded[0].numel() * layer.kernel_size[0] * layer.kernel_size[1]
    found = []
    for part in padded.split(max(1, CHUNK // entries)):
        columns = functional.unfold(part, layer.kernel_size, layer.dilation, stride=layer.stride)  # (B, n, L)
        found.append((columns if chosen is None else columns[:, :, chosen]).transpose(1, 2).flatten(0, 1))
    return torch.cat(found)


def responses(layer: Layer, outputs: Tensor, chosen: Tensor | None) -> Tensor:
    """(rows, m): the outputs in the order of `patches`, without the bias."""
    if isinstance(layer, nn.Linear):
        rows = outputs.reshape(-1, outputs.shape[-1])
    else:
        flat = outputs.flatten(2)  # (B, m, L)
        rows = (flat if chosen is None else flat[:, :, chosen]).transpose(1, 2).flatten(0, 1)
    return rows if layer.bias is None else rows - layer.bias.detach()


def chosen_positions(position_count: int, sample_count: int, seed: int) -> Tensor | None:
    """Positions of a feature map to look at, the same in every sample, to stay within `ROWS`; None for all."""
    wanted = max(1, ROWS // max(1, sample_count))
    if wanted >= position_count:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(position_count, generator=generator)[:wanted].sort().values
