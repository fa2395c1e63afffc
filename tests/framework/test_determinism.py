"""Training, pruning and scoring take the threads and kernels that the protocol says, whoever calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from prunebench import Method
from prunebench.errors import GridError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.records import Protocol, Result, Trial
from prunebench.trial.determinism import settled
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from toys import toy_installed

GRID = """
[protocol]
threads = 1
train = { epochs = 2, batch_size = 120, lr = 1e-2 }
latency = { batch = [] }
[[block]]
dataset = "blobs"
model = { use = "tiny", width = 4000 }
seed = 0
method = "tells"
"""


@dataclass(frozen=True)
class Tells(Method):
    """Keeps what torch is set to while it prunes."""

    name = "tells"
    seen: ClassVar[list[tuple[int, bool]]] = []

    def prune(self, network, task):
        self.seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        return network


def trial_of(threads: int) -> Trial:
    installed = toy_installed().named("method", "tells", Tells)
    return plan(Grid.parse(GRID.replace("threads = 1", f"threads = {threads}")), installed).trials[-1]


def result_with(outside: int, folder: Path, threads: int = 1) -> Result:
    """Of a process that was left with `outside` threads."""
    bench = Workbench(data_dir=folder, checkpoints=folder / str(outside), disabled_plugins=("all",), threads=outside)
    bench.installed = toy_installed().named("method", "tells", Tells)
    result = run_trial(trial_of(threads), bench)
    assert result.status == "ok", result.detail
    assert torch.get_num_threads() == outside
    return result


@pytest.fixture(autouse=True)
def one_thread_afterwards():
    before = torch.get_num_threads()
    Tells.seen.clear()
    yield
    torch.set_num_threads(before)


def test_a_network_is_the_same_whatever_threads_its_process_had(tmp_path: Path) -> None:
    one, two = result_with(1, tmp_path), result_with(2, tmp_path)
    assert one.provenance.dense_hash == two.provenance.dense_hash
    assert one.measurement and two.measurement and one.measurement.correct == two.measurement.correct
    assert Tells.seen == [(1, True), (1, True)]
    assert one.provenance.threads == two.provenance.threads == 1


def test_the_protocol_asks_for_threads_and_is_another_trial_then(tmp_path: Path) -> None:
    result_with(1, tmp_path, threads=2)
    assert Tells.seen == [(2, True)]
    first, second = trial_of(1), trial_of(2)
    assert first.id != second.id and first.network_id != second.network_id


def test_one_thread_is_left_out_of_the_id() -> None:
    assert "threads" not in replace(Protocol(), latency=replace(Protocol().latency, threads=1)).text.split("latency")[0]
    assert '"threads":2' in Protocol(threads=2).text
    assert trial_of(1).protocol == replace(trial_of(2).protocol, threads=1)


@pytest.mark.parametrize("threads", ["0", "1025", "-1"])
def test_threads_out_of_range_are_refused(threads: str) -> None:
    with pytest.raises(GridError, match=r"protocol\.threads must be in \[1, 1024\], got"):
        Grid.parse(GRID.replace("threads = 1", f"threads = {threads}"))


def test_torch_is_left_as_it_was_found() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ValueError, match="inside"), settled(1):
        assert torch.get_num_threads() == 1 and torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.backends.cudnn.benchmark
        raise ValueError("inside")
    assert torch.get_num_threads() == 2 and not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
