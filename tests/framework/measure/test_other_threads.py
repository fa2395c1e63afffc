"""A network that hands its work to other threads: the clock of one thread does not see them, and says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from prunebench.measure.latency.blocks import CpuClock, Side
from prunebench.measure.latency.latency import latency
from prunebench.records import LatencyProtocol
from torch import Tensor, nn

QUICK = LatencyProtocol(batch=(64,), groups=3, max_seconds=0.6)


class Pooled(nn.Module):
    """Runs the network in another thread."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.pool = network, ThreadPoolExecutor(1)

    def __deepcopy__(self, memo: dict[int, object]) -> Pooled:
        import copy

        return Pooled(copy.deepcopy(self.network, memo))

    def forward(self, x: Tensor) -> Tensor:
        def work() -> Tensor:
            with torch.inference_mode():
                return self.network(x)

        return self.pool.submit(work).result()


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


def test_the_work_of_other_threads_is_counted_beside() -> None:
    plain, x = network().eval(), torch.randn(64, 256)
    own = CpuClock().block(Side(plain, x), 20)
    elsewhere = CpuClock().block(Side(Pooled(plain), x), 20)
    assert elsewhere.others_ms > 2 * elsewhere.ms
    assert own.others_ms < 0.1 * own.ms


def test_only_a_network_that_works_in_other_threads_is_flagged() -> None:
    dense, x = network(), torch.randn(64, 256)
    (fooled,) = latency(dense, Pooled(network()), x, QUICK, "cpu", 0)
    (honest,) = latency(dense, network(), x, replace(QUICK), "cpu", 0)
    assert "other-threads" in fooled.flags
    assert "other-threads" not in honest.flags
