"""A workbench whose methods break a CUDA device, or say what torch says when one breaks."""

from __future__ import annotations

import os
from typing import Any

from prunebench.records import Result, Trial


def open_workbench(settings: dict[str, Any], device: str, progress: Any) -> Workbench:
    """What a worker asks for."""
    return Workbench(device)


def open_without_card(settings: dict[str, Any], device: str, progress: Any) -> Workbench:
    """The card is gone before the worker has begun."""
    raise RuntimeError("No CUDA GPUs are available")


class Workbench:
    """Runs the method of the trial's name."""

    def __init__(self, device: str) -> None:
        self.device = device

    def run_trial(self, trial: Trial, batch_halved: bool = False) -> Result:
        import torch

        try:
            getattr(self, trial.method.use)(torch)
            print("worker", os.getpid(), "batch halved" if batch_halved else "", flush=True)
        except torch.OutOfMemoryError as error:
            return Result(trial, "oom", str(error).splitlines()[0])
        return Result(trial, "ok", detail=str(os.getpid()))

    def is_full(self, torch: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def is_lost(self, torch: Any) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later")

    def is_alive(self, torch: Any) -> None:
        assert torch.ones(2).sum().item() == 2

    def allocates(self, torch: Any) -> None:
        kept = []
        while True:
            kept.append(torch.empty(2**32, dtype=torch.uint8, device=self.device))

    def asserts(self, torch: Any) -> None:
        values = torch.zeros(4, device=self.device)
        values[torch.tensor([100], device=self.device)].sum().item()

    def multiplies(self, torch: Any) -> None:
        assert torch.ones(8, 8, device=self.device).mm(torch.ones(8, 8, device=self.device)).sum().item() == 512
