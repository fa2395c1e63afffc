"""A method that asks for more memory than the device has."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench import Method, hookimpl

PIECE_BYTES = 1 << 30
FAR_TOO_MUCH = 1 << 50  # bytes that no host gives, whatever it promises


@dataclass(frozen=True)
class FillsTheDevice(Method):
    """Takes memory of the device until there is none."""

    name = "fills_the_device"

    def prune(self, network, task):
        """Never returns; on a CPU a single request is refused, so that other programs are left alone."""
        import torch

        size = PIECE_BYTES if task.device.type == "cuda" else FAR_TOO_MUCH
        kept = []
        while True:
            kept.append(torch.empty(size, dtype=torch.uint8, device=task.device))


@hookimpl
def methods():
    """The only one here."""
    return [FillsTheDevice]
