"""Energy by counters that are played: wrapped around, forbidden, missing; idle power is taken off."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from prunebench import NotApplicable, TensorSplit
from prunebench_metrics import energy_math
from prunebench_metrics.energy import Energy
from prunebench_metrics.energy_math import Nvml, Rapl, Segment, numbers
from torch import nn

CPU = torch.device("cpu")


def zone(folder: Path, place: str, name: str, joules: float, most: int = 1000) -> Path:
    made = folder / f"intel-rapl:{place}"
    made.mkdir(parents=True)
    (made / "name").write_text(f"{name}\n")
    (made / "max_energy_range_uj").write_text(f"{most * 1_000_000}\n")
    (made / "energy_uj").write_text(f"{int(joules * 1e6)}\n")
    return made / "energy_uj"


def test_packages_are_added_up_and_begin_again_at_zero(tmp_path):
    first, second = zone(tmp_path, "0", "package-0", 990), zone(tmp_path, "1", "package-1", 5)
    zone(tmp_path, "0:0", "core", 900)
    zone(tmp_path, "2", "psys", 900)
    counter = Rapl(tmp_path)
    assert counter.joules() == 0
    first.write_text("15000000")  # 10 to the largest number, 15 behind it
    second.write_text("9000000")
    assert counter.joules() == 25 + 4
    assert counter.joules() == 29


def test_what_may_not_be_read_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(energy_math, "POWERCAP", tmp_path)
    split, network = TensorSplit(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long)), nn.Linear(2, 2)
    with pytest.raises(NotApplicable, match="no processor here has an energy counter"):
        Energy().measure(network, network, split, CPU)
    zone(tmp_path, "0", "package-0", 1)

    def forbidden(self, **options):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(self, **options)

    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(NotApplicable, match="energy_uj may not be read: it is root's"):
        Energy().measure(network, network, split, CPU)
    with pytest.raises(NotApplicable, match="there is no energy counter for meta"):
        Energy().measure(network, network, split, torch.device("meta"))


def test_idle_power_is_taken_off_and_a_restless_machine_is_not_valid():
    rests = Segment(10, 1), Segment(10, 1)
    pruned, dense = (Segment(30, 1, 50), Segment(30, 1, 50)), (Segment(50, 1, 25), Segment(50, 1, 25))  # 30 W and 50 W
    found = numbers(pruned, dense, rests)
    assert found == {"joules": 0.4, "dense_joules": 1.6, "times_less": 4.0, "idle_watts": 10.0, "valid": 1.0}
    assert numbers(pruned, dense, (Segment(8, 1), Segment(12, 1)))["valid"] == 0.0
    disturbed = numbers((Segment(28, 1, 50), Segment(32, 1, 50)), dense, rests)
    assert disturbed["joules"] == found["joules"] and disturbed["valid"] == 0.0
    with pytest.raises(NotApplicable, match="other programs are running"):
        numbers(pruned, dense, (Segment(30, 1), Segment(30, 1)))
    still = Segment(0, 1, 50), Segment(0, 1, 50)
    with pytest.raises(NotApplicable, match=r"the energy counter stood still for 4\.0 s"):
        numbers(still, still, (Segment(0, 1), Segment(0, 1)))


def test_a_machine_that_counts_calls_gives_their_joules(monkeypatch):
    """10 W at rest; a call of the pruned network takes a joule more, of the dense one three."""
    calls = {"pruned": 0, "dense": 0}
    clock = SimpleNamespace(now=0.0)

    class Called(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            calls[self.name] += 1
            clock.now += 0.25
            return x

    class Played:
        def joules(self):
            return 10 * clock.now + calls["pruned"] + 3 * calls["dense"]

        def finish(self):
            pass

    def sleep(seconds):
        clock.now += seconds

    monkeypatch.setattr(energy_math, "time", SimpleNamespace(perf_counter=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(energy_math, "counter_for", lambda device: Played())
    split = TensorSplit(torch.zeros(8, 2), torch.zeros(8, dtype=torch.long))
    found = Energy(batch=4).measure(Called("pruned"), Called("dense"), split, CPU)
    assert found["joules"] == pytest.approx(1 / 4) and found["dense_joules"] == pytest.approx(3 / 4)
    assert found["idle_watts"] == pytest.approx(10) and found["valid"] == 1.0
    assert found.keys() == Energy.units.keys()


def test_a_card_that_does_not_count_says_so(monkeypatch):
    class Unknown(Exception):
        pass

    def refused(card):
        raise Unknown("Not Supported")

    played = SimpleNamespace(
        NVMLError=Unknown,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda card: 2500,
    )
    monkeypatch.setitem(sys.modules, "pynvml", played)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="a-card"))
    assert Nvml(torch.device("cuda:0")).joules() == 2.5
    played.nvmlDeviceGetTotalEnergyConsumption = refused
    with pytest.raises(NotApplicable, match="the card has no energy counter: Not Supported"):
        Nvml(torch.device("cuda:0"))
