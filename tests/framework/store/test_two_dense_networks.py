"""One id may have several dense networks, by threads, torch or machine: each result is compared with its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import store_samples as samples
from prunebench.records import Result
from prunebench.store import Store, open_results

FIRST, SECOND = "a" * 64, "b" * 64


def made(rank: int | None, accuracy: float, dense: str, at: str = "03") -> Result:
    result = samples.result(samples.trial(rank), provenance=replace(samples.PROVENANCE, dense_hash=dense))
    assert result.measurement
    measured = replace(result.measurement, top1_accuracy=accuracy)
    return replace(result, measurement=measured, started_at=f"2026-01-02T{at}:00:00+00:00")


def kept(store: Store, run_id: str, *results: Result) -> list[str]:
    """Journal them and merge; the notes."""
    with store.open_run(samples.run(run_id)) as journal:
        for result in results:
            journal.append(result)
    return store.merge().notes


def drops(store: Store, view: str = "trials") -> dict[str, float | None]:
    with open_results(store.path) as results:
        rows = results.query(f"select method_label, round(accuracy_drop, 6) from {view}").rows()
    return dict(rows)


def test_each_result_is_compared_with_its_own_dense_network(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.duckdb")
    assert kept(store, "one", made(None, 0.95, FIRST), made(4, 0.90, FIRST)) == []
    (note,) = kept(store, "two", made(None, 0.80, SECOND, "05"), made(8, 0.75, SECOND, "05"))
    assert note.startswith("toy_digits tiny(width=8) seed 0: results of one id have 2 different dense networks")
    found = drops(store)
    assert found["low_rank(rank=4, keep=0.5)"] == found["low_rank(rank=8, keep=0.5)"] == 0.05
    assert found["dense"] == 0
    means = drops(store, "trial_means")
    assert means["low_rank(rank=4, keep=0.5)"] == means["low_rank(rank=8, keep=0.5)"] == 0.05
    with open_results(store.path) as results:
        assert results.query("select distinct dense_network_count from trials").rows() == [(2,)]


def test_a_result_whose_dense_network_has_no_row_is_not_compared(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.duckdb")
    kept(store, "one", made(None, 0.95, FIRST), made(4, 0.90, SECOND))
    assert drops(store)["low_rank(rank=4, keep=0.5)"] is None


def test_a_result_that_does_not_know_its_own_has_the_best(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.duckdb")
    assert kept(store, "one", made(None, 0.95, FIRST), made(4, 0.90, "")) == []
    assert drops(store)["low_rank(rank=4, keep=0.5)"] == 0.05
    with open_results(store.path) as results:
        assert results.query("select count(*) from trials").rows() == [(2,)]


def test_old_rows_of_the_same_network_are_no_second_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.duckdb")
    kept(store, "one", made(None, 0.95, FIRST), made(4, 0.90, FIRST))
    later = [made(None, 0.80, SECOND, "05"), made(4, 0.75, SECOND, "05")]
    assert kept(store, "two", *later) == []  # the whole grid again: what was before is history
    assert drops(store)["low_rank(rank=4, keep=0.5)"] == 0.05
