"""A workbench whose methods break a CUDA device."""

from __future__ import annotations

from typing import Any

from prunebench.records import Result, Trial


def open_workbench(settings: dict[str, Any], device: str, progress: Any) -> Workbench:
    """What a worker asks for."""
    return Workbench(device)


class Workbench:
    """Runs the method of the trial's name."""

    def __init__(self, device: str) -> None:
        self.device = device

    def run_trial(self, trial: Trial) -> Result:
        import torch

        try:
            getattr(self, trial.method.use)(torch)
        except torch.OutOfMemoryError as error:
            return Result(trial, "oom", str(error).splitlines()[0])
        return Result(trial, "ok")

    def allocates(self, torch: Any) -> None:
        kept = []
        while True:
            kept.append(torch.empty(2**32, dtype=torch.uint8, device=self.device))

    def asserts(self, torch: Any) -> None:
        values = torch.zeros(4, device=self.device)
        values[torch.tensor([100], device=self.device)].sum().item()

    def multiplies(self, torch: Any) -> None:
        assert torch.ones(8, 8, device=self.device).mm(torch.ones(8, 8, device=self.device)).sum().item() == 512
