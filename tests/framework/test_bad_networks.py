"""Networks that cannot be measured, as models and as what a method returns: a row with the reason, never a number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from prunebench import Method, Model, Task
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.records import COUNTING_RULE, Result
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from torch import Tensor, nn
from toys import toy_installed

GRID = """
[protocol]
train = { epochs = 1, batch_size = 16, lr = 1e-2 }
latency = { batch = [1, 64], max_seconds = 0.05, groups = 2 }
[[block]]
dataset = "blobs"
model = "MODEL"
seed = 0
method = "METHOD"
"""
NO_MEMORY = "DefaultCPUAllocator: not enough memory: you tried to allocate 68719476736 bytes."


class Bad(nn.Module):
    """Four logits from a (B, 1, 4, 4) image, and what `how` says is wrong with it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.layer = nn.Identity() if how == "no parameters" else nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "unknown":
            return self.layer(torch.fft.fft(x.flatten(1)).real)
        if self.how == "nan":
            return self.layer(x.flatten(1)) * float("nan")
        if self.how == "memory at 64" and len(x) == 64:
            raise RuntimeError(NO_MEMORY)
        if self.how == "python's memory at 64" and len(x) == 64:
            raise MemoryError
        if self.how == "drifts" or (self.how == "drifts at 64" and len(x) == 64):
            with torch.no_grad():
                self.layer.weight.mul_(0.5)
        return self.layer(x.flatten(1))[:, :4]


@dataclass(frozen=True)
class Returns(Method):
    """A network of which `how` says what is wrong."""

    name = "returns"
    how: str = ""

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        return Bad(self.how)


@dataclass(frozen=True)
class Is(Model):
    """The same as a model."""

    name = "is"
    input_shape = (1, 4, 4)
    how: str = ""

    def build(self, class_count: int) -> nn.Module:
        return Bad(self.how)


def result_of(tmp_path: Path, model: str, method: str) -> Result:
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "c", disabled_plugins=("all",), threads=1)
    bench.installed = toy_installed().named("method", "returns", Returns).named("model", "is", Is)
    text = GRID.replace('"MODEL"', model).replace('"METHOD"', method)
    return run_trial(plan(Grid.parse(text), bench.installed).trials[-1], bench)


FAULTS = [
    ("no parameters", "failed", "the network has no parameters"),
    ("drifts", "failed", "changed layer.weight"),
    ("drifts at 64", "failed", "changed layer.weight"),
]
PRUNED = [
    ("nan", "failed", "80 of 80 outputs hold NaN or infinity"),
    ("memory at 64", "oom", "forward failed at batch 64: DefaultCPUAllocator: not enough memory"),
    ("python's memory at 64", "oom", "forward failed at batch 64: MemoryError"),
]
DENSE = [  # the dense network is asked for 64 samples before it is timed
    ("nan", "failed", "the training loss is nan in epoch 1"),
    ("memory at 64", "oom", "DefaultCPUAllocator: not enough memory"),
    ("python's memory at 64", "oom", "MemoryError"),
]


@pytest.mark.parametrize(("how", "status", "reason"), [*FAULTS, *PRUNED])
def test_a_network_that_cannot_be_measured_is_a_row_with_the_reason(
    tmp_path: Path, how: str, status: str, reason: str
) -> None:
    result = result_of(tmp_path, '"tiny"', f'{{ use = "returns", how = "{how}" }}')
    assert (result.status, result.measurement) == (status, None)
    assert reason in result.reason


@pytest.mark.parametrize(("how", "status", "reason"), [*FAULTS, *DENSE])
def test_a_model_that_cannot_be_measured_is_a_row_with_the_reason(
    tmp_path: Path, how: str, status: str, reason: str
) -> None:
    result = result_of(tmp_path, f'{{ use = "is", how = "{how}" }}', '"dense"')
    assert (result.status, result.measurement) == (status, None)
    assert reason in result.reason


def test_uncountable_macs_are_none_and_the_row_names_the_operator(tmp_path: Path) -> None:
    result = result_of(tmp_path, '{ use = "is", how = "unknown" }', '"dense"')
    assert result.status == "ok", result.reason
    assert result.measurement.mac_count is None
    assert result.measurement.notes == ("mac_count is unknown: there is no formula for aten::_fft_r2c",)
    assert result.measurement.counting_rule == COUNTING_RULE
