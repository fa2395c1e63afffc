"""What an answer costs in joules, where the machine counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Metric, Split, param

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Energy(Metric):
    """Joules per sample beyond what the idle machine takes, of the pruned network and of the dense one.

    On the CPU the packages' counters (RAPL, by /sys/class/powercap) are read, on a card NVML's. Both networks run in
    turn, pruned, dense, dense, pruned, with a rest before and behind, whose power is taken off. Everything else that
    runs on the machine is counted, too: `valid` is 1 where the two rests differ by less than a tenth of what either
    network added. Without a counter that may be read there is no number, and the note says why.
    """

    name = "energy"
    units = {
        "joules": "J/sample",
        "dense_joules": "J/sample",
        "times_less": "×",
        "idle_watts": "W",
        "valid": "",
    }
    seconds: float = param(2.0, "that each network runs, and that the machine rests", above=0, unit="seconds")
    batch: int = param(64, "samples per call, of the test split", at_least=1, unit="samples")

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """Raises `NotApplicable` where nothing counts, or a network takes no more than the idle machine."""
        from prunebench_metrics.energy_math import compared, counter_for

        return compared(network, dense, test.head(self.batch)[0], counter_for(device), self.seconds)
