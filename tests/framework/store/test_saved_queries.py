"""Saved queries count nothing twice, mix no protocols, and measure a promise by what was gained."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import store_samples as samples
from prunebench.records import Protocol, Recipe
from prunebench.store import Results
from prunebench.store.queries import saved_query
from prunebench.store.views import column_comments

OTHER = Protocol(train=Recipe(epochs=77))


def test_seconds_count_the_training_of_a_network_once(fill, results: Results) -> None:
    """Each network trains for 10 s, in the dense trial of 12.5 s; two networks, two pruned trials of each."""
    fill(
        *(
            replace(samples.result(trial), provenance=replace(samples.PROVENANCE, dense_hash=str(seed) * 64))
            for seed in range(2)
            for trial in (samples.trial(None, seed), samples.trial(2, seed), samples.trial(4, seed))
        )
    )
    rows = {row["method"]: row for row in results.query(saved_query("seconds")).iter_rows(named=True)}
    assert (rows["dense"]["train_seconds"], rows["low_rank"]["train_seconds"]) == (20.0, 0.0)
    assert all(row["train_seconds"] <= row["seconds"] for row in rows.values())


@pytest.mark.parametrize("name", ["best", "pareto"])
def test_best_and_pareto_have_an_answer_for_each_protocol(fill, results: Results, name: str) -> None:
    """Under the other protocol everything scores less: mixed, none of its rows would be left."""
    for protocol, score in ((Protocol(), 0.9), (OTHER, 0.5)):
        made = [samples.result(samples.trial(rank, protocol=protocol)) for rank in (None, 4)]
        fill(*(replace(of, measurement=replace(of.measurement, top1_accuracy=score)) for of in made))
    found = results.query(saved_query(name))
    assert set(found["protocol_id"]) == {Protocol().id, OTHER.id}


@pytest.mark.parametrize(("speedup", "kept"), [(2.0, 1.0), (1.0, 0.0), (0.5, -2.0), (1.25, 0.4)])
def test_a_promise_is_kept_by_the_time_that_was_saved(fill, results: Results, speedup: float, kept: float) -> None:
    """MACs of 10,000 against 5,000 promise half the time; what was saved of it is 1 - 1 / speedup."""
    pruned = samples.result(samples.trial(4))
    fill(samples.result(samples.trial(None)), replace(pruned, measurement=samples.measurement(1, speedup)))
    (row,) = results.query(saved_query("promise")).rows(named=True)
    assert row["theoretical_speedup"] == 2.0
    assert row["gain_kept"] == pytest.approx(kept, abs=1e-6)


def test_intervals_of_shares_stay_between_zero_and_one(fill, results: Results) -> None:
    """Scores near an end with a wide spread: Student's interval alone leaves [0, 1] on both sides."""
    for rank, scores in ((2, (0.99, 0.6)), (4, (0.01, 0.4))):
        for seed, score in enumerate(scores):
            of = samples.result(samples.trial(rank, seed))
            fill(replace(of, measurement=replace(of.measurement, top1_accuracy=score)))
    for view in ("trial_means", "comparison"):
        frame = results.query(f"select * from {view}")
        ends = [
            c
            for c in frame.columns
            if c.endswith(("accuracy_low", "accuracy_high")) or c in ("score_low", "score_high")
        ]
        for column in ends:
            assert frame[column].drop_nulls().is_between(0, 1).all(), column
        for column in ("accuracy_drop_low", "accuracy_drop_high"):
            assert frame[column].drop_nulls().is_between(-1, 1).all(), column
    means = results.query("select top1_accuracy_low as low, top1_accuracy_high as high from trial_means order by low")
    assert means["low"].min() == 0.0 and means["high"].max() == 1.0


def test_every_view_and_column_in_the_file_is_documented(fill, results: Results) -> None:
    fill(samples.result(samples.trial(4)))
    texts = column_comments()
    views = results.query(
        "select view_name, comment from duckdb_views() where not internal and database_name <> 'system'"
    )
    assert set(views["view_name"]) == {*texts["view"], *texts["inner"]}
    columns = results.query("select table_name, column_name, comment from duckdb_columns() where not internal")
    public = columns.filter(pl.col("table_name").is_in(list(texts["view"])))
    assert public.filter(pl.col("comment").is_null()).rows() == []
