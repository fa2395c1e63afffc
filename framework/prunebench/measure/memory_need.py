"""What a trial and its timing take of a device's memory at most, by formula, before either begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import psutil
import torch
from torch import nn

from prunebench.anatomy.parts import Anatomy, Block
from prunebench.measure import weights
from prunebench.measure.memory import free_and_total_bytes, peak_memory_bytes
from prunebench.samples import Tree
from prunebench.shapes import LayerShape

ROOMY_BYTES, ROOMY_TIMES = 8 << 30, 4  # free beside so many times the weights, nothing needs to be reckoned
CONTROL_GROUP = Path("/sys/fs/cgroup")

Hold = Literal["none", "copies", "shared", "turns"]
# Of the networks that are timed: none; private copies of both; both as they are; both as they are, one at a time on
# the device.


@dataclass(frozen=True)
class Need:
    """Bytes on one device, part by part."""

    dense: int
    pruned: int
    copies: int = 0  # private ones of both, to be timed
    working: int = 0  # inputs, activations and outputs of one batch
    training: int = 0  # gradients, and what the optimizer keeps

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, part.name) for part in fields(self))

    def __str__(self) -> str:
        parts = ", ".join(f"{part.name} {said(value)}" for part in fields(self) if (value := getattr(self, part.name)))
        return f"{said(self.total)} ({parts})"


def said(count: float) -> str:
    """For messages: `14.5 GB`, `3.2 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def need(dense: int, pruned: int, working: int, hold: Hold = "none", *, copies: int = 0, training: int = 0) -> Need:
    """What dense and pruned networks of these bytes take with a batch that works in `working` bytes.

    Before a method has run, `pruned` is a copy of dense. `copies` are the bytes of both in the type they are timed in.
    In turns, the smaller of the two waits on the host. What a method itself keeps is not in it: see `gram_bytes`.
    """
    if hold == "turns":
        return Need(dense if dense >= pruned else 0, pruned if pruned > dense else 0, working=working)
    return Need(dense, pruned, copies if hold == "copies" else 0, working, training)


def weight_bytes(network: nn.Module) -> int:
    """Of all that is stored; tied weights once."""
    return sum(weights.byte_count(tensor) for tensor in weights.stored(network).values())


def working_bytes(network: nn.Module, x: Tree, device: torch.device) -> int:
    """What one call on `x` takes beside the weights: tried, by a call."""
    return max(0, peak_memory_bytes(network, x, device) - weight_bytes(network))


def gram_bytes(shapes: Sequence[LayerShape], anatomy: Anatomy | None) -> int:
    """Bytes of the Gram matrices of what all layers read, in float64: 8·n² each, one where layers read one tensor.

    Which layers do is known of transformer blocks: queries, keys and values; gate and up.
    """
    followers = set(_followers(anatomy.blocks)) if anatomy is not None else set()
    readers = [shape for shape in shapes if shape.name not in followers and not shape.left_alone]
    return sum(8 * _inputs(shape) ** 2 * shape.groups for shape in readers)


def _followers(blocks: Iterable[Block]) -> Iterable[str]:
    """Layers that read what another one reads."""
    for block in blocks:
        if block.attention is not None:
            first = block.attention.query.module
            yield from (p.module for p in (block.attention.key, block.attention.value) if p.module != first)
        if block.mlp is not None and block.mlp.gate is not None:
            yield block.mlp.gate.module


def _inputs(shape: LayerShape) -> int:
    return shape.in_channels // shape.groups * shape.kernel[0] * shape.kernel[1]


def free_bytes(device: torch.device) -> int:
    """What this process could still allocate: on a card, or of the host within its control group."""
    if device.type == "cuda":
        return free_and_total_bytes(device)[0]
    return min(int(psutil.virtual_memory().available), _left_in_group(CONTROL_GROUP))


def _left_in_group(folder: Path) -> int:
    """Of the limit of this control group (version 2), files in memory counted as free; without a limit, any amount."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 1 << 62
    files = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return max(0, int(limit) - used + files) if limit.isdigit() else 1 << 62


def is_roomy(free: int, weights_of_both: int) -> bool:
    """Whether there is so much that nothing needs to be reckoned, which costs a forward pass."""
    return free >= ROOMY_BYTES + ROOMY_TIMES * weights_of_both


def lack(what: str, needed: Need, device: torch.device, limit: int) -> torch.OutOfMemoryError:
    """The error that says what does not fit; `limit` counts what the networks hold already."""
    return torch.OutOfMemoryError(
        f"{what} needs {needed} on {device}, where {said(limit)} are to be had: take fewer or shorter samples, "
        "a narrower type or a larger device"
    )
