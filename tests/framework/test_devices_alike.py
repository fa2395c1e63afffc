"""One run on every kind of device: what the CPU can show of CUDA is shown there, the rest where there is a card."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from prunebench.engine.executors import Finished, RetryPolicy, WorkerStarted, WorkSettings, make_executor
from prunebench.engine.executors.devices import resolve
from prunebench.engine.session import run
from prunebench.grid.grid import Grid
from prunebench.records import Choice, Protocol, Result, Trial
from prunebench.store.catalog import open_catalog
from prunebench.store.database import connect

ROOT = Path(__file__).parents[2]
RUNNERS = ROOT / "tests" / "faults"
DEVICES = ["cpu:2", pytest.param("cuda:0", marks=pytest.mark.gpu)]


def reduced_quickstart() -> Grid:
    """The quickstart with one seed, two epochs and hardly any timing, its networks in a block each."""
    text = (ROOT / "grids" / "quickstart.toml").read_text()
    for given, less in [
        ("epochs = 30", "epochs = 2"),
        ("range = [0, 3]", "range = [0, 1]"),
        ("0.25 }", "0.05 }"),
        ('["simple_fcn", "lenet5"]', '"lenet5"'),
    ]:
        assert given in text
        text = text.replace(given, less)
    return Grid.parse(text, name="quickstart", source="quickstart")


@pytest.mark.long
@pytest.mark.parametrize("devices", DEVICES)
def test_the_quickstart_runs(tmp_path: Path, devices: str) -> None:
    outcome = run(reduced_quickstart(), db=tmp_path / "results.duckdb", devices=devices, report=False)
    assert outcome.is_clean
    assert sum(outcome.statuses.values()) == outcome.planned_count
    with contextlib.closing(connect()) as connection:  # a bare machine with a card has no polars
        open_catalog(connection, outcome.database)
        found = connection.sql("select device, count(*) from trials where status = 'ok' group by 1").fetchall()
        timed = connection.sql("select distinct device, clock from speedups").fetchall()
    assert found == [({"cpu:2": "cpu", "cuda:0": "cuda:0"}[devices], outcome.statuses["ok"])]
    assert timed == [("cpu", "cpu") if devices == "cpu:2" else ("cuda:0", "cuda")]


def made(use: str, width: int = 0) -> Trial:
    return Trial(Choice("toys"), Choice("net", {"width": width}), Choice(use), 0, Protocol())


def settings(folder: Path) -> WorkSettings:
    return WorkSettings(data_dir=str(folder), checkpoints=str(folder), log_dir=str(folder / "logs"))


@pytest.fixture
def gpu_runner(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(RUNNERS), *filter(None, sys.path)]))
    return "gpu_runner:open_workbench"


@pytest.mark.gpu
def test_a_worker_sees_its_own_card_and_no_other(tmp_path: Path, gpu_runner: str) -> None:
    executor = make_executor("local", "cuda", settings(tmp_path), runner=gpu_runner)
    slots = resolve("cuda")
    events = list(executor.run([made("sees", width) for width in range(2 * len(slots))]))
    seen = [event.result for event in events if isinstance(event, Finished)]
    assert {result.status for result in seen} == {"ok"}
    assert {tuple(result.detail.split()) for result in seen} <= {(slot.visible, slot.name) for slot in slots}


@pytest.mark.gpu
def test_a_batch_too_large_for_the_card_is_halved_once(tmp_path: Path, gpu_runner: str) -> None:
    executor = make_executor("local", "cuda:0", settings(tmp_path), RetryPolicy(0, 1), runner=gpu_runner)
    events = list(executor.run([made("allocates_unless_halved"), made("allocates", 1), made("multiplies", 2)]))
    found: dict[str, Result] = {e.result.trial.method.use: e.result for e in events if isinstance(e, Finished)}
    ends = {use: (result.status, result.attempt) for use, result in found.items()}
    assert ends == {"allocates_unless_halved": ("ok", 2), "allocates": ("oom", 2), "multiplies": ("ok", 1)}


@pytest.mark.gpu
@pytest.mark.slow
def test_two_workers_with_half_a_card_each_share_one(tmp_path: Path, gpu_runner: str) -> None:
    pytest.importorskip("ray")
    executor = make_executor("ray", "cuda", settings(tmp_path), runner=gpu_runner, gpu_fraction=0.5)
    events = list(executor.run([made("sees", width) for width in range(8)]))
    workers = {event.slot for event in events if isinstance(event, WorkerStarted)}
    seen = [event.result for event in events if isinstance(event, Finished)]
    assert [result.status for result in seen] == ["ok"] * 8
    cards = {card for card, _ in (result.detail.split() for result in seen)}
    assert len(workers) == 2 * len(resolve("cuda")) >= 2 * len(cards)
