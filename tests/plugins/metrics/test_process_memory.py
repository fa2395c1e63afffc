"""Memory of a fresh process: it grows by the bytes of the weights, and a network of a script is declined."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prunebench import NotApplicable, TensorSplit
from prunebench_metrics.process_memory import ProcessMemory
from torch import nn

MEBIBYTE = 1 << 20
CPU = torch.device("cpu")


def split(width: int) -> TensorSplit:
    return TensorSplit(torch.randn(2, width), torch.zeros(2, dtype=torch.long))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs the memory that Linux tells")
def test_a_fresh_process_takes_the_bytes_of_the_weights():
    dense, pruned = nn.Linear(4096, 4096), nn.Linear(4096, 64)  # 64 MiB and 1 MiB
    found = ProcessMemory().measure(pruned, dense, split(4096), CPU)
    assert 60 * MEBIBYTE < found["dense_loaded"] < 100 * MEBIBYTE
    assert found["loaded"] < 20 * MEBIBYTE
    assert found["dense_peak"] >= 60 * MEBIBYTE
    assert found.keys() == ProcessMemory.units.keys()


class Local(nn.Linear):
    """No other process knows this module's tests."""

    def __reduce__(self):
        raise TypeError("not for others")


def test_a_network_that_cannot_travel_is_declined():
    with pytest.raises(NotApplicable, match="another process cannot load the network"):
        ProcessMemory().measure(Local(2, 2), nn.Linear(2, 2), split(2), CPU)


def test_other_devices_are_declined():
    with pytest.raises(NotApplicable, match="measured on the CPU"):
        ProcessMemory().measure(nn.Linear(2, 2), nn.Linear(2, 2), split(2), torch.device("meta"))
