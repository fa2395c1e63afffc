"""What a fresh process needs to answer once with the pruned network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Metric, Split

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class ProcessMemory(Metric):
    """Resident memory of a new process beyond torch itself, for the pruned network and for the dense one.

    The process reads the network from a file (its weights are copied, not mapped), then answers the first test sample
    once. What every later call may share, as kernels' scratch space, is in it. On Linux, on the CPU.
    """

    name = "process_memory"
    units = {"loaded": "bytes", "peak": "bytes", "dense_loaded": "bytes", "dense_peak": "bytes"}

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """`loaded`: after reading; `peak`: the most during the call; of both networks."""
        from prunebench_metrics.process_memory_math import needed

        own, other = (needed(each, test.head(1)[0], device) for each in (network, dense))
        return {"loaded": own[0], "peak": own[1], "dense_loaded": other[0], "dense_peak": other[1]}
