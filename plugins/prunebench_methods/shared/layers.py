"""New linear layers and convolutions with given numbers, made without drawing any random ones."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn

from prunebench_methods.shared.numerics import like

New = TypeVar("New", nn.Linear, nn.Conv2d)


class _Unfilled(nn.Linear):
    """Draws no numbers that are thrown away."""

    def reset_parameters(self) -> None:
        """Nothing."""


def new_linear(layer: nn.Module, weight: Tensor, bias: Tensor | None = None, *, fresh: bool = False) -> nn.Linear:
    """A linear layer of this weight (out, in), in the dtype and on the device of `layer`; see `like` for `fresh`."""
    new: nn.Linear = _Unfilled(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    new.__class__ = nn.Linear
    return _filled(new, layer, weight, bias, fresh=fresh)


def new_conv(layer: nn.Module, weight: Tensor, bias: Tensor | None = None, **geometry: Any) -> nn.Conv2d:
    """A convolution of this weight (out, in/groups, kh, kw), in the dtype and on the device of `layer`.

    `geometry`: stride, padding, dilation, groups, padding_mode, as `nn.Conv2d` takes them.
    """
    out_channels, per_group, *kernel = weight.shape
    in_channels = per_group * geometry.get("groups", 1)
    size = (kernel[0], kernel[1])
    new = nn.Conv2d(in_channels, out_channels, size, bias=bias is not None, device="meta", **geometry)
    return _filled(new, layer, weight, bias)


def geometry(layer: nn.Conv2d) -> dict[str, Any]:
    """Stride, padding, dilation, groups and padding mode, to hand on to `new_conv`."""
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    return {name: getattr(layer, name) for name in names}


def two_layers(
    layer: nn.Linear | nn.Conv2d,
    left: Tensor,
    right: Tensor,
    bias: Tensor | None,
    inner_bias: Tensor | None = None,
    *,
    fresh: bool = False,
) -> nn.Sequential:
    """`layer` as two: first `right` (r, n), for a convolution with its kernel and geometry, then `left` (m, r).

    For a grouped convolution both have the groups in front: (g, m/g, r) and (g, r, n). `fresh` as in `like`: of a
    linear layer `left` and `right`.
    """
    if isinstance(layer, nn.Linear):
        return nn.Sequential(
            new_linear(layer, right, inner_bias, fresh=fresh), new_linear(layer, left, bias, fresh=fresh)
        )
    groups, rank = layer.groups, right.shape[-2]
    kernel = right.reshape(groups * rank, layer.in_channels // groups, *layer.kernel_size)
    point = left.reshape(layer.out_channels, rank, 1, 1)
    first = new_conv(layer, kernel, inner_bias, **geometry(layer))
    return nn.Sequential(first, new_conv(layer, point, bias, groups=groups))


def _filled(new: New, layer: nn.Module, weight: Tensor, bias: Tensor | None, *, fresh: bool = False) -> New:
    new.weight = like(weight, layer, fresh=fresh)
    if bias is not None:
        new.bias = like(bias, layer)
    return new
