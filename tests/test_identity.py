"""One id, one result: with one worker or two, killed and called again, on Ray; every bit but the times."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import identity
import pytest
from identity import CLOSE, EXACT, Way, compared, is_broken, kept, rows_of

ROOT = Path(__file__).parents[1]

GRID = """
name = "identity"
[protocol]
train = { epochs = 1 }
finetune = { epochs = 1 }
calibration = 8
evaluation_limit = 100
latency = { batch = [] }
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = [0, 1]
method = { use = "magnitude", keep = [0.3, 0.5] }
"""


@pytest.fixture(scope="module", autouse=True)
def small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "GRID", GRID)
        yield


@pytest.fixture(scope="module")
def whole(small: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    """With one worker, at one go."""
    found = rows_of(Way("one worker"), tmp_path_factory.mktemp("whole") / "run")
    assert [row[0] for row in found.values()] == ["ok"] * 6 and len({row[1] for row in found.values()}) == 2
    return found


@pytest.mark.parametrize(
    "way",
    [Way("two workers", devices="cpu:2"), pytest.param(Way("resumed", is_killed=True), marks=pytest.mark.long)],
    ids=lambda way: way.words,
)
def test_the_same_trials_have_the_same_results(whole: dict[str, tuple[Any, ...]], way: Way, tmp_path: Path) -> None:
    assert rows_of(way, tmp_path / "run") == whole


def test_the_same_trials_have_the_same_results_on_ray(whole: dict[str, tuple[Any, ...]], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert rows_of(Way("on Ray", options=("--executor", "ray")), tmp_path / "run") == whole


def test_a_difference_is_seen_by_what_compares() -> None:
    row = ("ok", "hash", 0.5, 0.9, 100, b"\x01")
    first = kept({"a": row, "b": row})
    same, count, accuracy, loss = compared(kept({"a": row, "b": (*row[:2], 0.5000001, *row[3:])}), first)
    assert (same, count, accuracy) == (1, 2, 0.0) and 0 < loss < 1e-6
    assert compared(kept({"a": row, "b": (*row[:5], b"\x02")}), first)[0] == 1, "one answer differs"
    assert compared(kept({"a": row}), first)[:2] == (1, 2), "one trial is missing"


def test_the_page_shows_the_rows_that_were_kept() -> None:
    stored = json.loads((ROOT / "docs" / "make" / "identity.json").read_text())
    page = (ROOT / "docs" / "identity.md").read_text()
    made = runpy.run_path(str(ROOT / "docs" / "make" / "identity.py"))["page"](page, stored)
    assert made == page, "run: python docs/make/identity.py"
    by_words = {way["words"]: way for way in stored["ways"]}
    assert list(by_words) == [way.words for way in identity.ways()], "run: python benchmarks/identity.py"
    assert [words for words, way in by_words.items() if is_broken(way, by_words)] == []


def test_a_way_that_breaks_its_promise_is_told() -> None:
    row = {"hash": "a", "loss": 0.5, "accuracy": 0.9}
    first = {"words": "first", "promise": EXACT, "like": "first", "rows": {"t": row}}
    other = {"words": "other", "promise": EXACT, "like": "first", "rows": {"t": {**row, "hash": "b"}}}
    by_words = {"first": first, "other": other}
    assert [is_broken(way, by_words) for way in (first, other, {**other, "promise": CLOSE})] == [False, True, False]
