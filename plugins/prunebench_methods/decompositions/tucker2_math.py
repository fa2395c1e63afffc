"""The weights of the three layers that tucker2 puts instead of a convolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunebench_methods.decompositions.chain import relative_error
from prunebench_methods.decompositions.pieces import Factors
from prunebench_methods.low_rank.pivots import Pivoted, pivot_rows
from prunebench_methods.shared.layers import geometry, new_conv
from prunebench_methods.shared.numerics import working

TOLERANCE = 1e-5  # change of the core's share of the norm at which the iteration has settled


class ChannelVectors(NamedTuple):
    """Left singular vectors of the kernel's two channel modes, most energy first: (S, S) and (T, T)."""

    inputs: Tensor
    outputs: Tensor


def channel_vectors(layer: nn.Conv2d) -> ChannelVectors:
    """The start of every decomposition of this layer."""
    kernel = working(layer.weight)
    return ChannelVectors(_leading(kernel.transpose(0, 1)), _leading(kernel))


def _leading(tensor: Tensor, rank: int | None = None) -> Tensor:
    """The first left singular vectors of `tensor` as a matrix with its first axis for rows, completed to a basis."""
    matrix = tensor.flatten(1).double()
    vectors = torch.linalg.eigh(matrix @ matrix.T)[1].flip(1).to(tensor.dtype)
    result: Tensor = vectors[:, :rank]
    return result


def tucker_factors(layer: nn.Conv2d, found: ChannelVectors, rank: tuple[int, int], sweeps: int) -> Factors:
    """Weights (r_in, S, 1, 1), (r_out, r_in, kh, kw) and (T, r_out, 1, 1)."""
    kernel = working(layer.weight)
    inputs, outputs = _iterated(kernel, found.inputs[:, : rank[0]], found.outputs[:, : rank[1]], sweeps)
    core = torch.einsum("tsyx,sa,tb->bayx", kernel, inputs, outputs)
    error = relative_error(kernel, torch.einsum("bayx,sa,tb->tsyx", core, inputs, outputs))
    return Factors((inputs.T[:, :, None, None], core, outputs[:, :, None, None]), error)


def on_pivots(layer: nn.Conv2d, factors: Factors) -> nn.Module:
    """The chain of these factors, its bases changed so that both sides of the core are channels of the layer itself."""
    first, core, last = (weight.double() for weight in factors.weights)
    reads, added = pivot_rows(first[:, :, 0, 0].T)  # (S, r_in): the channels read, and what the others add to them
    writes, made = pivot_rows(last[:, :, 0, 0])  # (T, r_out)
    inner_in, inner_out = len(first), len(core)
    core = torch.einsum("bayx,as->bsyx", core, first[:, reads[:inner_in], 0, 0])
    core = torch.einsum("tb,bsyx->tsyx", last[writes[:inner_out], :, 0, 0], core)
    bias = None if layer.bias is None else layer.bias.detach().double()
    if len(reads) == inner_in:
        core = core[:, reads.argsort()]
    if len(writes) == inner_out:
        core = core[writes.argsort()]
    own = bias if bias is None or len(writes) == inner_out else bias[writes[:inner_out]]
    kernel: nn.Module = new_conv(layer, core, own, **geometry(layer))
    if len(reads) > inner_in:
        kernel = nn.Sequential(Gathered(new_conv(layer, added.T[:, :, None, None]), reads), kernel)
    if len(writes) == inner_out:
        return kernel
    rest = None if bias is None or own is None else bias[writes[inner_out:]] - made @ own
    return Pivoted(kernel, new_conv(layer, made[:, :, None, None], rest), writes.argsort(), 1)


class Gathered(nn.Module):
    """Some channels of an input, the others added to them through `others`; `order` has the ones first."""

    order: Tensor  # int32 (S,)

    def __init__(self, others: nn.Conv2d, order: Tensor) -> None:
        super().__init__()
        self.others = others
        self.register_buffer("order", order.to(torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, H, W) to (B, r, H, W)."""
        count = self.others.out_channels
        added: Tensor = self.others(x.index_select(1, self.order[count:]))
        return x.index_select(1, self.order[:count]) + added


def _iterated(kernel: Tensor, inputs: Tensor, outputs: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    """Each basis the best for the other, in turn, until the energy of the core stands still."""
    if inputs.shape[1] == inputs.shape[0] and outputs.shape[1] == outputs.shape[0]:
        return inputs, outputs
    norm, before = float(torch.linalg.vector_norm(kernel)), 0.0
    for _ in range(sweeps):
        outputs = _leading(torch.einsum("tsyx,sa->tayx", kernel, inputs), outputs.shape[1])
        projected = torch.einsum("tsyx,tb->sbyx", kernel, outputs)
        inputs = _leading(projected, inputs.shape[1])
        now = float(torch.linalg.vector_norm(torch.einsum("sbyx,sa->abyx", projected, inputs)))
        if now - before <= TOLERANCE * norm:
            break
        before = now
    return inputs, outputs
