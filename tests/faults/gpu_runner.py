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
        self.batch_halved = False

    def run_trial(self, trial: Trial, batch_halved: bool = False) -> Result:
        import torch

        self.batch_halved = batch_halved
        try:
            getattr(self, trial.method.use)(torch)
            print("worker", os.getpid(), "batch halved" if batch_halved else "", flush=True)
        except torch.OutOfMemoryError as error:
            return Result(trial, "oom", str(error).splitlines()[0])
        names = ("CUDA_VISIBLE_DEVICES", "PRUNEBENCH_SLOT")
        seen = [os.environ.get(name, "") for name in names] if trial.method.use == "sees" else [os.getpid()]
        return Result(trial, "ok", detail=" ".join(map(str, seen)))

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

    def allocates_unless_halved(self, torch: Any) -> None:
        """A batch for which the card is too small by half."""
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        size = free * 3 // 2 // (2 if self.batch_halved else 1)
        torch.empty(size, dtype=torch.uint8, device=self.device)

    def sees(self, torch: Any) -> None:
        """Its own card, as the only one."""
        assert torch.cuda.device_count() == 1
        torch.ones(8, device=self.device).sum().item()

    def asserts(self, torch: Any) -> None:
        values = torch.zeros(4, device=self.device)
        values[torch.tensor([100], device=self.device)].sum().item()

    def multiplies(self, torch: Any) -> None:
        assert torch.ones(8, 8, device=self.device).mm(torch.ones(8, 8, device=self.device)).sum().item() == 512
