"""Linear layers of few bits as plain torch: a weight of whole multiples of its scales, and the bytes that it takes."""

from __future__ import annotations

import torch
from prunebench import Task, stored_byte_count
from torch import Tensor, nn

from prunebench_peers.adapters import require


class RoundedLinear(nn.Linear):
    """A linear layer whose weight is `scale · (number − zero point)`, with both of them beside it.

    `scales` are (out, groups), `zeros` (out, groups) int8, or None where zero is the middle of the numbers.
    """

    def __init__(self, weight: Tensor, bias: nn.Parameter | None, scales: Tensor, zeros: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = bias  # type: ignore[assignment]
        self.register_buffer("scales", scales.detach().clone())
        self.register_buffer("zeros", None if zeros is None else zeros.detach().to(torch.int8))


def packed_bytes(network: nn.Module, bits: int) -> dict[str, int]:
    """Bytes by format: `packed` has each number and each zero point in `bits` bits, the rest as it is."""
    layers = [layer for layer in network.modules() if isinstance(layer, RoundedLinear)]
    if not layers:
        return {}
    saved = 0
    for layer in layers:
        saved += layer.weight.numel() * layer.weight.element_size() - packed_size(layer.weight.numel(), bits)
        if isinstance(layer.zeros, Tensor):
            saved += layer.zeros.numel() - packed_size(layer.zeros.numel(), bits)
    return {"packed": stored_byte_count(network) - saved}


def packed_size(count: int, bits: int) -> int:
    """Bytes of `count` numbers of `bits` bits."""
    return -(-count * bits // 8)


def fitting(names: list[str], network: nn.Module, task: Task, width: int) -> list[str]:
    """The layers whose inputs are whole groups of `width`, 0 for any; the others are recorded with the reason."""
    inputs = {name: int(network.get_submodule(name).in_features) for name in names}  # type: ignore[arg-type]
    uneven = {name: count for name, count in inputs.items() if width and count % width}
    reasons = {name: f"its {count:,} inputs are no multiple of the group's {width}" for name, count in uneven.items()}
    for name, why in reasons.items():
        task.layer(name, left_alone=why)
    return require([name for name in names if name not in reasons], list(reasons.values()))
