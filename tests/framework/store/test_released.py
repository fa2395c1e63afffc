"""A database that 0.1.0 wrote: it opens, its numbers are as they were, and its trials are not run again."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from prunebench.engine.session import prepare
from prunebench.store import Store, open_results

RELEASED = Path(__file__).parent / "released"
WRITTEN = {  # as 0.1.0 showed them
    "1663d8d93ba22e3c": ("dense", 0.884, 105_214),
    "d1937f70151f52a0": ("magnitude", 0.512, 21_214),
    "3a95e4c64d1feb6f": ("low_rank", 0.352, 31_806),
}


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The file as 0.1.0 left it, without its journals."""
    path = tmp_path / "runs" / "results.duckdb"
    path.parent.mkdir()
    path.write_bytes(lzma.decompress((RELEASED / "0.1.0.duckdb.xz").read_bytes()))
    return path


def test_a_database_of_0_1_0_opens_with_its_numbers(released: Path):
    with open_results(released) as results:
        rows = results.query(
            "select trial_id, method, top1_accuracy, nonzero_parameter_count, score from trials"
        ).rows()
    assert {key: (method, top1, count) for key, method, top1, count, _ in rows} == WRITTEN
    assert all(score == top1 for _, _, top1, _, score in rows), "the score of a classification is its accuracy"


def test_trials_of_0_1_0_count_as_done(released: Path):
    prepared = prepare(RELEASED / "small.toml", db=released)
    assert {trial.id for trial in prepared.plan.trials} == set(WRITTEN)
    assert prepared.todo == ()


def test_a_merge_keeps_what_0_1_0_wrote(released: Path):
    Store(released).merge()
    with open_results(released) as results:
        assert results.query("select count(*) from trials").item() == len(WRITTEN)
        assert results.query("select count(*) from runs").item() == 1
