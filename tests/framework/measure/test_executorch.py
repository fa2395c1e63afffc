"""ExecuTorch, where it is installed: the same outputs in a file for one batch size, timed in pairs."""

from __future__ import annotations

import importlib.metadata

import pytest
import torch
from prunebench.grid.protocols import GridError, protocols_from
from prunebench.measure.latency.latency import latency
from prunebench.measure.runtimes.exporting import Unexportable
from prunebench.measure.runtimes.pair import Given, ready
from prunebench.records import LatencyProtocol
from torch import nn

QUICK = LatencyProtocol(batch=(1, 3), groups=2, max_seconds=0.05, runtime="executorch")


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, width, 3, padding=1), nn.Linear(16 * width, 3)

    def forward(self, x):
        return self.last(self.first(x).relu().flatten(1)).cumsum(1)  # XNNPACK has no kernel for that


@pytest.fixture
def sides():
    torch.manual_seed(0)
    return Net().eval(), Net(2).eval()


X = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_without_it_the_other_numbers_stand_and_a_note_says_why(sides, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    told = []
    assert latency(*sides, X, QUICK, "cpu", 0, told.append) == ()
    asked = "executorch is not installed: pip install 'prunebench[executorch]'"
    assert told == [f"not timed in executorch at batch {batch}: {asked}" for batch in (1, 3)]
    with pytest.raises(GridError, match="dynamic_batch is for"):
        protocols_from({"latency": {"runtime": "executorch", "dynamic_batch": True}})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
def test_both_sides_answer_as_torch_does_and_are_timed(sides):
    pytest.importorskip("executorch")
    found = latency(*sides, X, QUICK, "cpu", 0)
    assert [one.batch for one in found] == [1, 3]
    for one in found:
        told = one.conditions
        assert told["provider"] == "XnnpackBackend" and told["dense_agrees"] and told["pruned_agrees"]
        assert told["dense_batch"] == "fixed" and told["dense_file_bytes"] > told["pruned_file_bytes"] > 0
        assert any("cumsum" in name for name in told["dense_not_in_xnnpack"])
        assert one.speedup > 0 and "other-threads" not in one.flags
    again = latency(*sides, X, QUICK, "cpu", 0)
    assert all(one.conditions["dense_export_seconds"] == 0 for one in again)
    with pytest.raises(Unexportable, match="integers by a runtime's own quantizer"):
        ready(Given(*sides[:1] * 2), Given(sides[1], sides[1], "int8"), X[:3], QUICK, torch.device("cpu"))
