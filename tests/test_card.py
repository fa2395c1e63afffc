"""The script that measures on a card, proved without one: limits, resuming, what is kept, and its quickest steps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from card import page
from card.driver import Driver, summary
from card.plan import NAMES, STEPS, Step
from card.record import Record, Size, read, write

ROOT = Path(__file__).parents[1]
FACTS: dict[str, Any] = {"card": "", "cores": 2, "load_average": 0.1, "date": "2026-01-01", "python": "3.12",
                         "versions": {"torch": "2.11"}, "without": []}  # fmt: skip


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr("card.driver.facts_of", lambda device: FACTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "benchmarks"), *filter(None, sys.path)]))
    return Driver(tmp_path / "out", "cpu", "tenth", 60.0, copy=tmp_path / "copy")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def found(name: str, status: str, **more: Any) -> dict[str, Any]:
    facts = {"step": name, "status": status, "device": "cpu", "scale": "tenth", "seconds": 1.0, "error": ""}
    return {**facts, "checks": [{"what": "so", "holds": status == "ok", "seen": "this"}], "rows": [], "notes": [],
            "left_out": [], **more}  # fmt: skip


def record(tmp_path: Path, seconds: float = 100.0) -> Record:
    return Record(tmp_path / "step.json", "step", "cpu", Size("tenth"), seconds)


def test_what_is_done_before_is_not_run_again(driver: Driver, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in STEPS:
        write(out / f"{step.name}.json", found(step.name, "ok"))
    assert driver.run(STEPS) == 0
    assert capsys.readouterr().out.count("done before") == len(STEPS) == 9
    kept = read(out.parent / "copy" / "card.json")
    assert kept and kept["passed"] and list(kept["steps"]) == list(NAMES)
    assert kept["facts"] == FACTS
    assert sorted(path.name for path in (out.parent / "copy").iterdir()) == ["card.json", "card.log"]


def test_a_step_that_takes_too_long_is_cut_off_and_the_next_begins(driver: Driver, out: Path) -> None:
    write(out / "grid.json", found("grid", "ok"))
    late = Step("decompositions", 0.2, "stopped before it has found anything")
    assert driver.run((late, Step("grid", 10, "done"))) == 1
    kept = read(out / "card.json")
    assert kept and not kept["passed"]
    assert [step["status"] for step in kept["steps"].values()] == ["cut off", "ok"]
    assert kept["steps"]["decompositions"]["error"] == "stopped after 0 s"
    assert "not all passed" in summary(kept)


def test_a_step_is_not_begun_where_too_little_time_is_left(driver: Driver, out: Path) -> None:
    driver.seconds = 5.0
    assert driver.run((Step("memory", 30, "not begun"),)) == 1
    kept = read(out / "memory.json")
    assert kept and kept["status"] == "cut off" and "not begun" in kept["error"]


def test_what_a_step_found_before_is_kept_where_no_time_is_left(driver: Driver, out: Path) -> None:
    driver.seconds = 5.0
    write(out / "memory.json", found("memory", "running", rows=[{"figure": 1}]))
    assert driver.run((Step("memory", 30, "not begun"),)) == 1
    kept = read(out / "memory.json")
    assert kept and kept["status"] == "cut off" and kept["rows"] == [{"figure": 1}]


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"scale": "full"}, {"status": "failed"}])
def test_only_what_passed_in_the_same_way_counts_as_done(driver: Driver, out: Path, other: dict[str, Any]) -> None:
    driver.seconds = 5.0
    write(out / "memory.json", found("memory", "ok") | other)
    assert driver.run((Step("memory", 30, "not begun"),)) == 1


def test_a_step_without_a_check_has_failed(tmp_path: Path) -> None:
    made = record(tmp_path)
    made.row(figure=1)
    made.end()
    assert made.status == "failed"


def test_a_part_that_fails_leaves_the_others(tmp_path: Path) -> None:
    made = record(tmp_path)
    with made.case("declined", declines=(KeyError,)):
        raise KeyError("no kernel")
    with made.case("broken"):
        raise RuntimeError("wrong device")
    made.check("the other one", True)
    made.end()
    kept = read(made.path)
    assert kept and kept["status"] == "failed"
    assert [check["holds"] for check in kept["checks"]] == [False, True]
    assert "wrong device" in kept["checks"][0]["seen"] and "no kernel" in kept["notes"][0]


def test_what_is_left_out_for_lack_of_time_is_no_pass(tmp_path: Path) -> None:
    made = record(tmp_path, seconds=5.0)
    made.check("so", True)
    assert made.has_time("this", 1.0) and not made.has_time("that", 3.0)
    made.end()
    assert (made.status, made.left_out) == ("cut off", ["that"])


def test_the_part_on_gpus_is_what_the_stored_result_makes() -> None:
    runs = [read(path) for path in sorted((ROOT / "docs" / "make" / "card").glob("*.json"))]
    kept = page.together([run for run in runs if run])
    assert len(runs) == 3 and set(kept["steps"]) == set(NAMES)
    document = (ROOT / "docs" / "performance.md").read_text()
    assert page.part(kept) in document, "bash benchmarks/card.sh page docs/make/card/*.json"
    assert (page.NO_CARD in document) == (not kept["facts"]["card"])


def test_several_runs_give_each_step_at_its_best() -> None:
    """The last time that it was ok, else the time that found most; never figures of two kinds of card."""
    facts = {"card": "a card"}
    first = {"facts": facts, "scale": "full", "steps": {name: found(name, "ok", rows=[{}]) for name in "ab"}}
    cut = {"c": found("c", "cut off", rows=[{}, {}]), "d": found("d", "failed", rows=[{}])}
    first["steps"] |= cut
    later = {"a": found("a", "failed", rows=[{}] * 5), "b": found("b", "ok", rows=[]), "c": found("c", "failed")}
    second = {"facts": facts, "scale": "full", "steps": later | {"d": found("d", "ok", rows=[])}}
    joined = page.together([first, second])
    assert joined["steps"] == {"a": first["steps"]["a"], "b": later["b"], "c": cut["c"], "d": second["steps"]["d"]}
    with pytest.raises(ValueError, match="a card, full size; another, full size"):
        page.together([first, {**second, "facts": {"card": "another"}}])


def test_the_page_marks_what_did_not_hold_and_what_waits_for_the_host() -> None:
    row = {"model": "m", "method": "low_rank", "macs": 2.0, "batch": 1, "speedup": 1.5, "low": 1.4, "high": 1.6}
    steps = {"speed": found("speed", "failed", rows=[{**row, "flags": ["launch-bound"]}], error="it ended")}
    card = {"card": "a card", "memory_gib": 80, "driver": "580", "cuda": "13.0"}
    text = page.part({"facts": FACTS | card, "scale": "full", "seconds": 9.0, "steps": steps})
    assert "| m | low_rank | 2.0 | 1.50 [1.40, 1.60] * |" in text
    assert "failed: it ended" in text and "- speed: so: this" in text and page.NO_CARD not in text
    assert "a card (80 GiB), driver 580, CUDA 13.0" in text
    proof = page.part({"facts": FACTS, "scale": "tenth", "seconds": 9.0, "steps": steps})
    assert page.NO_CARD in proof and "1.50" not in proof


def test_the_wheels_are_what_the_project_needs() -> None:
    listed = {re.split("[<>=]", line)[0] for line in (ROOT / "benchmarks/card/wheels.txt").read_text().split("\n")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split("[<>=]", line)[0] for line in project["dependencies"]}
    there = {"torch", "torchvision", "scikit-learn", "scipy", "pillow", "numpy"}  # on the machine
    unneeded = {"polars", "vl-convert-python"}
    assert needed - there - unneeded <= listed
    assert not (unneeded | there) & listed


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_script_runs_its_quickest_step_and_goes_on(tmp_path: Path) -> None:
    command = ["bash", "benchmarks/card.sh", "run", "--device", "cpu", "--scale", "tenth", "--out", str(tmp_path)]
    command += ["--only", "decompositions", "--patience", "16", "--seconds", "550"]
    environment = {**os.environ, "PYTHON": sys.executable}
    first = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    kept = json.loads((tmp_path / "card.json").read_text())
    assert [step["status"] for step in kept["steps"].values()] == ["ok"]
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stdout.count("done before") == 1
