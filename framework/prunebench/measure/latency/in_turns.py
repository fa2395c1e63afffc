"""Two networks in turns on a device that holds one of them: the other one waits on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prunebench.measure.latency.blocks import Side

HOST = torch.device("cpu")


@dataclass(eq=False)
class Stage:
    """The device, and the networks that come to it in turns."""

    device: torch.device
    networks: tuple[nn.Module, ...]
    on: nn.Module | None = None  # None: all of them are there

    def bring(self, network: nn.Module) -> bool:
        """Have `network` on the device and the others on the host; whether anything had to move."""
        if self.on is network:
            return False
        for other in self.networks:
            if other is not network:
                move(other, HOST)
        move(network, self.device)
        self.on = network
        return True

    def clear(self) -> None:
        """All of them back to the device, where there is room for their weights."""
        for network in self.networks:
            move(network, self.device)
        self.on = None


def move(network: nn.Module, device: torch.device) -> None:
    """Parameters and buffers of `network` to `device`, in place, as tensors that autograd can use afterwards."""
    with torch.inference_mode(False), torch.no_grad():
        network.to(device)


@dataclass(frozen=True)
class Waiting(Side):
    """One side of a pair in turns: it comes to the device before a block that calls it, outside of what is timed."""

    stage: Stage = Stage(HOST, ())

    @property
    def call(self) -> Callable[[], Any]:
        """One forward pass; the first after a move is made here, for it warms up."""
        has_moved = self.stage.bring(self.network)
        call = super().call
        if has_moved:
            call()
        return call
