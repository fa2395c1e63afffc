"""Two real Ray nodes on loopback: what dies, freezes or is not there, and what becomes of the trials."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_toys import RUNNER, is_gone, results, toy, work_settings
from prunebench.engine.executors import (
    Executor,
    Finished,
    Progress,
    RetryPolicy,
    WorkerLost,
    WorkerStarted,
    make_executor,
)
from prunebench.errors import DeviceError
from prunebench.records import Result

pytest.importorskip("ray")

from ray_cluster import Cluster, environment, free_port

pytestmark = pytest.mark.slow
CARDS = ("--num-cpus=1", "--num-gpus=2")


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@pytest.fixture
def two_nodes() -> Iterator[Cluster]:
    cluster = Cluster(CARDS, CARDS)
    yield cluster
    cluster.close()


def on(
    cluster: Cluster, folder: Path, devices: str = "cuda", checkpoints: str | None = None, **options: object
) -> Executor:
    settings = work_settings(folder, {"log_dir": None, "checkpoints": checkpoints or str(folder)})
    return make_executor(
        "ray", devices, settings, RetryPolicy(killed=2), runner=RUNNER, address=cluster.address, **options
    )  # type: ignore[arg-type]


def sleeping(count: int, seconds: float = 0.5) -> list:  # type: ignore[type-arg]
    return [toy("sleeps", network, seconds=seconds) for network in range(count)]


def test_every_worker_has_its_own_card_and_no_trial_is_lost_or_doubled(two_nodes: Cluster, tmp_path: Path) -> None:
    found = results(on(two_nodes, tmp_path).run(sleeping(24, 1.0)))
    assert Counter(result.status for result in found.values()) == {"ok": 24}
    assert len((tmp_path / "ran").read_text().splitlines()) == 24
    spans = sorted((slot, float(begin), float(end)) for begin, end, _, slot in map(parts, found.values()))
    for (slot, _, end), (next_slot, begin, _) in itertools.pairwise(spans):
        assert slot != next_slot or end <= begin, "two trials at once on one card"
    cards = {slot: card for _, _, card, slot in map(parts, found.values())}
    assert sorted(cards.values()) == ["0", "0", "1", "1"], "each node has the cards 0 and 1"


def parts(result: Result) -> list[str]:
    """Begin, end, card and slot of a trial that slept."""
    return result.detail.split()


def test_a_killed_node_costs_its_trials_an_attempt_and_nothing_else(two_nodes: Cluster, tmp_path: Path) -> None:
    events, start = [], time.monotonic()
    for event in on(two_nodes, tmp_path).run(sleeping(16, 1.0)):
        events.append(event)
        if sum(isinstance(one, Progress) for one in events) == 8 and len(two_nodes.nodes) == 2:
            two_nodes.nodes.pop().kill()  # every slot is in its second trial
    found = results(events)
    assert Counter(result.status for result in found.values()) == {"ok": 16}
    assert max(result.attempt for result in found.values()) == 2
    assert sum(isinstance(event, WorkerLost) for event in events) >= 1
    assert time.monotonic() - start < 90


def test_a_frozen_node_is_noticed_within_thirty_seconds(two_nodes: Cluster, tmp_path: Path) -> None:
    frozen_at, lost_at, events = 0.0, 0.0, []
    for event in on(two_nodes, tmp_path).run(sleeping(10)):
        events.append(event)
        if isinstance(event, WorkerLost) and not lost_at:
            lost_at = time.monotonic()
        if sum(isinstance(one, Finished) for one in events) == 4 and not frozen_at:
            two_nodes.nodes[1].send(signal.SIGSTOP)
            frozen_at = time.monotonic()
    assert Counter(result.status for result in results(events).values()) == {"ok": 10}
    assert 0 < lost_at - frozen_at < 30


def test_a_lost_head_ends_the_run_in_one_line(two_nodes: Cluster, driver: subprocess.Popen[str]) -> None:
    """In a process of its own: Ray ends a driver whose head is gone for a minute."""
    wait_for(driver, "finished", 4)
    killed_at = time.monotonic()
    two_nodes.nodes.pop(0).kill()
    rest = driver.stdout.read()  # type: ignore[union-attr]
    assert driver.wait(timeout=60) == 2
    assert time.monotonic() - killed_at < 40
    assert rest.strip().splitlines()[-1] == (
        f"error: the head of the Ray cluster at {two_nodes.address} is gone; finished trials are kept: "
        "run the same command again to continue"
    )


def test_a_killed_driver_leaves_no_worker_and_the_next_one_goes_on(
    two_nodes: Cluster, driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    lines = wait_for(driver, "finished", 5)
    driver.kill()
    driver.wait()
    pids = [int(line.split()[1]) for line in lines if line.startswith("worker")]
    assert pids
    assert all(is_gone(pid, within_seconds=10.0) for pid in pids)
    done = {line.split()[1] for line in lines if line.startswith("finished")}
    left = [trial for trial in sleeping(40, 0.5) if trial.id not in done]
    assert len(results(on(two_nodes, tmp_path).run(left))) == 40 - len(done)


def test_half_a_card_each_puts_two_workers_on_one(two_nodes: Cluster, tmp_path: Path) -> None:
    events = list(on(two_nodes, tmp_path, gpu_fraction=0.5).run(sleeping(16)))
    assert sum(isinstance(event, WorkerStarted) for event in events) > 4, "more workers than cards"
    assert len(results(events)) == 16


def test_what_a_cluster_could_never_give_is_refused_before_anything_waits(one_node: str, tmp_path: Path) -> None:
    settings = work_settings(tmp_path, {"threads_per_slot": 1})
    for devices, fraction, message in [
        ("cuda", 1.0, r"1 GPUs per worker are asked for, the cluster's nodes have \[0\]"),
        ("cpu:64", 1.0, "64 workers with 1 core each are asked for, the cluster has room for 2"),
        ("cuda:0,cuda:1", 1.0, "on a cluster, devices are auto, cuda, cpu or cpu:N"),
        ("cuda", 1.5, "a fraction of a GPU or whole GPUs, got 1.5"),
    ]:
        with pytest.raises(DeviceError, match=message):
            make_executor("ray", devices, settings, address=one_node, gpu_fraction=fraction)


def test_another_version_on_a_node_is_refused_with_both_named(
    one_node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunebench.engine.executors import cluster

    monkeypatch.setattr(cluster, "versions", lambda: {"prunebench": "9.9.9"})
    executor = make_executor("ray", "cpu:1", work_settings(tmp_path, {}), runner=RUNNER, address=one_node)
    with pytest.raises(DeviceError, match=r"prunebench is 9\.9\.9 here and 0\.\S+ on node \S+: install the same"):
        list(executor.run([toy("fine")]))


def test_a_checkpoint_that_one_node_has_reaches_another_once(two_nodes: Cluster, tmp_path: Path) -> None:
    """The nodes share no folder: a relative one lies on each node's own disk."""
    executor = on(two_nodes, tmp_path, checkpoints="checkpoints")
    trials = [toy("keeps_checkpoint", 0, index=index) for index in range(12)]
    found = results(executor.run(trials))
    assert Counter(result.status for result in found.values()) == {"ok": 12}
    folders = [str(node.disk / "checkpoints") for node in two_nodes.nodes]
    assert {result.detail for result in found.values()} == set(folders), "both nodes worked, each in its own folder"
    assert sum(result.reason == "trained" for result in found.values()) == 1
    name = trials[0].network_id
    for node in two_nodes.nodes:
        assert {path.name for path in (node.disk / "checkpoints").iterdir()} == {f"{name}.json", f"{name}.safetensors"}


def test_where_nothing_listens_one_line_says_so() -> None:
    address = f"127.0.0.1:{free_port()}"
    start = time.monotonic()
    with pytest.raises(DeviceError, match=f"no Ray cluster answers at {address}"):
        make_executor("ray", "auto", work_settings(Path(), {}), address=address)
    assert time.monotonic() - start < 11


def test_where_something_else_listens_ten_seconds_are_enough() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(DeviceError, match=f"no Ray cluster answers at {address}"):
            make_executor("ray", "auto", work_settings(Path(), {}), address=address)
        assert time.monotonic() - start < 12


@pytest.mark.parametrize("address", ["somewhere", "host:", ":6379", "host:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(DeviceError, match="cannot read the address"):
        make_executor("ray", "auto", work_settings(Path(), {}), address=address)


def test_auto_without_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(DeviceError, match="no Ray cluster runs on this machine"):
        make_executor("ray", "auto", work_settings(Path(), {}), address="auto")


def test_a_stale_note_of_a_dead_cluster_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")
    with pytest.raises(DeviceError, match="no Ray cluster answers at 127"):
        make_executor("ray", "auto", work_settings(Path(), {}), address="auto")


@pytest.fixture
def driver(two_nodes: Cluster, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of forty trials in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / "a_driver.py"), two_nodes.address, str(tmp_path), "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        yield process
        process.kill()


def wait_for(driver: subprocess.Popen[str], kind: str, count: int) -> list[str]:
    lines: list[str] = []
    assert driver.stdout is not None
    while sum(line.startswith(kind) for line in lines) < count:
        lines.append(driver.stdout.readline())
        assert lines[-1], f"ended before {count} {kind}: {lines}"
    return lines
