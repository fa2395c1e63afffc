"""The weights of the layers that cp puts instead of a convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunebench_methods.decompositions.als import ModeBases, Settings, composed, fitted, mode_bases
from prunebench_methods.decompositions.chain import relative_error
from prunebench_methods.decompositions.pieces import Factors
from prunebench_methods.shared.numerics import working


def kernel_bases(layer: nn.Conv2d) -> ModeBases:
    """What every fit of this layer's kernel starts from."""
    return mode_bases(working(layer.weight).unsqueeze(0))


def cp_factors(
    layer: nn.Conv2d, found: ModeBases, rank: int, generator: torch.Generator, settings: Settings, form: str
) -> Factors:
    """Weights in the order of the form's layers."""
    kernel = working(layer.weight)
    parts = fitted(kernel.unsqueeze(0), rank, found, generator, settings)
    error = relative_error(kernel, composed(parts)[0])
    outputs, inputs, rows, columns = (part[0] for part in parts)  # (T, R), (S, R), (kh, R), (kw, R)
    return Factors(_weights(outputs, inputs, rows, columns, form), error)


def _weights(outputs: Tensor, inputs: Tensor, rows: Tensor, columns: Tensor, form: str) -> tuple[Tensor, ...]:
    if form == "two":
        vertical = torch.einsum("sr,yr->rsy", inputs, rows).unsqueeze(3)  # (R, S, kh, 1)
        return vertical, torch.einsum("tr,xr->trx", outputs, columns).unsqueeze(2)  # (T, R, 1, kw)
    first, last = inputs.T[:, :, None, None], outputs[:, :, None, None]  # (R, S, 1, 1), (T, R, 1, 1)
    if form == "three":
        return first, torch.einsum("yr,xr->ryx", rows, columns).unsqueeze(1), last
    return first, rows.T[:, None, :, None], columns.T[:, None, None, :], last
