from __future__ import annotations

from collections import namedtuple

import prunebench.engine.worker.memory as worker_memory
import pytest
import torch
from prunebench.engine.worker.memory import Memory, await_memory, memory_now
from prunebench.measure import memory
from prunebench.splits import TensorSplit
from prunebench.trial.workbench import on_device_limit_bytes

GIB = 2**30


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time at which somebody last looked; sleeping only moves it on."""
    now = [0.0]
    monkeypatch.setattr(worker_memory.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker_memory.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


@pytest.fixture
def a_card(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A card of 16 GiB with 8 free, of which this process's allocator holds 1 more in reserve."""
    state = {"free": 8 * GIB, "total": 16 * GIB, "reserved": 3 * GIB, "allocated": 2 * GIB}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (state["free"], state["total"]))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: state["reserved"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: state["allocated"])
    Host = namedtuple("Host", "available total")
    monkeypatch.setattr(worker_memory.psutil, "virtual_memory", lambda: Host(32 * GIB, 64 * GIB))
    return state


def test_a_card_with_room_is_not_waited_for(clock: list[float], a_card: dict[str, int]) -> None:
    assert memory_now("cuda:0") == [
        Memory("memory", 32 * GIB, 64 * GIB),
        Memory("memory on cuda:0", 9 * GIB, 16 * GIB),
    ]
    await_memory("cuda:0", pytest.fail)
    assert clock[0] == 0.0


def test_a_card_that_others_fill_is_waited_for_until_they_leave(
    clock: list[float], a_card: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_card |= {"free": 100 * 2**20, "reserved": 0, "allocated": 0}

    def info(device: torch.device) -> tuple[int, int]:
        return (a_card["free"] if clock[0] < 10 else 4 * GIB), a_card["total"]

    monkeypatch.setattr(torch.cuda, "mem_get_info", info)
    told: list[str] = []
    await_memory("cuda:0", told.append)
    assert told == ["only 100 MB of memory on cuda:0 are free: waiting up to a minute"]
    assert clock[0] == 10.0


def test_after_a_minute_the_trial_tries_its_luck(clock: list[float], a_card: dict[str, int]) -> None:
    a_card |= {"free": 0, "reserved": 0, "allocated": 0}
    told: list[str] = []
    await_memory("cuda:0", told.append)
    assert len(told) == 1
    assert 60 < clock[0] < 65


def test_what_the_allocator_of_this_worker_keeps_is_no_lack(clock: list[float], a_card: dict[str, int]) -> None:
    a_card |= {"free": 0, "reserved": 14 * GIB, "allocated": 1 * GIB}
    await_memory("cuda:0", pytest.fail)


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_a_card_that_does_not_answer_is_short_only_when_it_says_so(
    a_card: dict[str, int], monkeypatch: pytest.MonkeyPatch, error: RuntimeError, is_short: bool
) -> None:
    def info(device: torch.device) -> tuple[int, int]:
        raise error

    monkeypatch.setattr(torch.cuda, "mem_get_info", info)
    assert any(memory.is_short for memory in memory_now("cuda:0")) == is_short


def test_a_cpu_slot_looks_at_no_card(a_card: dict[str, int]) -> None:
    assert [memory.where for memory in memory_now("cpu")] == ["memory"]


@pytest.mark.parametrize(("free", "limit"), [(80 * GIB, 8 * GIB), (8 * GIB, 2 * GIB), (0, 0)])
def test_a_data_set_takes_at_most_a_part_of_what_the_card_has_free(
    a_card: dict[str, int], free: int, limit: int
) -> None:
    a_card |= {"free": free, "reserved": 0, "allocated": 0}
    assert on_device_limit_bytes(torch.device("cuda:0")) == limit


@pytest.mark.parametrize("generator", [None, 3])
def test_a_split_that_lies_elsewhere_is_copied_batch_by_batch(generator: int | None) -> None:
    moved: list[int] = []

    class Watched(torch.Tensor):
        def to(self, *where: object, **options: object) -> torch.Tensor:
            moved.append(len(self))
            return super().to(*where, **options)

    split = TensorSplit(torch.arange(10.0).reshape(10, 1, 1, 1).as_subclass(Watched), torch.arange(10))
    drawn = None if generator is None else torch.Generator().manual_seed(generator)
    assert {images.device.type for images, _ in split.batches(4, "meta", drawn)} == {"meta"}
    assert moved == [4, 4, 2], "never the split as a whole"
    drawn = None if generator is None else torch.Generator().manual_seed(generator)
    seen = torch.cat([labels for _, labels in split.batches(4, "cpu", drawn)])
    assert sorted(seen.tolist()) == list(range(10))
    expected = torch.randperm(10, generator=torch.Generator().manual_seed(3)) if generator else torch.arange(10)
    assert torch.equal(seen, expected)


@pytest.mark.gpu
def test_a_real_card_says_what_is_free() -> None:
    free, total = memory.free_and_total_bytes(torch.device("cuda:0"))
    kept = torch.empty(256 * 2**20, dtype=torch.uint8, device="cuda:0")
    assert 0 < free <= total
    del kept
    again, _ = memory.free_and_total_bytes(torch.device("cuda:0"))
    assert again >= free - 64 * 2**20, "what the allocator keeps is counted as free"
