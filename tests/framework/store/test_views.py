"""The documented views: their numbers by hand, their columns, their verdicts."""

from __future__ import annotations

import base64
import json
import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import store_samples as samples
from prunebench.records import Choice, LatencyProtocol, LayerRecord, Result, decode, encode
from prunebench.store import Results, Store
from prunebench.store import database as db
from prunebench.store.catalog import open_catalog
from prunebench.store.schema import schema_markdown
from prunebench.store.views import column_comments, view_statements
from scipy import stats

REPOSITORY = Path(__file__).parents[3]


def bitmap(bits: str) -> str:
    whole = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return base64.b64encode(int(whole, 2).to_bytes(len(whole) // 8, "big")).decode()


def with_bits(of: Result, bits: str) -> Result:
    measured = replace(
        of.measurement, correct=bitmap(bits), test_count=len(bits), top1_accuracy=bits.count("1") / len(bits)
    )
    return replace(of, measurement=measured)


def test_the_schema_document_is_what_the_code_makes() -> None:
    assert (REPOSITORY / "docs" / "schema.md").read_text(encoding="utf-8") == schema_markdown()


def test_every_documented_view_has_a_comment_on_every_public_column() -> None:
    connection = db.connect()
    db.migrate(connection)
    from prunebench.store.views import build_views

    build_views(connection)
    bare = connection.execute(
        "select table_name, column_name from duckdb_columns() "
        "where comment is null and table_name in (select unnest(?))",
        [list(column_comments()["view"])],
    ).fetchall()
    connection.close()
    assert bare == []
    assert set(view_statements()) == set(column_comments()["view"])


PROMISED = {
    "trials": "trial_id run_id run_name scale status reason dataset dataset_label model model_label method "
    "method_label setting params seed protocol_id "
    "target_compression target_theoretical_speedup top1_accuracy top5_accuracy loss "
    "top1_accuracy_before_finetune dense_top1_accuracy accuracy_drop parameter_count nonzero_parameter_count mac_count "
    "stored_bytes gzip_bytes compression_ratio theoretical_speedup stored_ratio prune_seconds finetune_seconds "
    "train_seconds peak_memory_bytes realised is_control environment_id device seconds attempt started_at",
    "speedups": "trial_id batch speedup speedup_low speedup_high latency_ms latency_p90_ms dense_latency_ms throughput "
    "threads dtype clock contention floor verdict flags",
    "trial_means": "dataset_label model_label method method_label setting protocol_id environment_id seed_count "
    "is_single_seed top1_accuracy top1_accuracy_std top1_accuracy_low top1_accuracy_high accuracy_drop "
    "compression_ratio theoretical_speedup batch speedup speedup_low speedup_high",
    "comparison": "trial_id dense_trial_id accuracy_drop accuracy_drop_low accuracy_drop_high dense_only_count "
    "pruned_only_count same_weights mcnemar_p verdict",
    "pareto": "objective amount dataset_label model_label method_label top1_accuracy",
    "failures": "trial_id run_id status reason detail method_label attempt",
    "layers": "trial_id layer kind parameter_count_before parameter_count_after weight_error left_alone",
    "environments": "environment_id host cpu device python torch",
}


@pytest.mark.parametrize("view", PROMISED)
def test_views_keep_the_columns_that_were_promised(fill, results: Results, view: str) -> None:
    fill(samples.result(samples.trial()))
    assert set(PROMISED[view].split()) <= set(results.query(f"select * from {view} limit 0").columns)


def test_ratios_are_against_the_dense_trial_of_the_same_seed(fill, results: Results) -> None:
    fill(*(samples.result(samples.trial(rank, seed), 0.9 - 0.1 * bool(rank)) for rank in (None, 4) for seed in (0, 1)))
    rows = results.query(
        "select compression_ratio, theoretical_speedup, stored_ratio, accuracy_drop, "
        "dense_top1_accuracy - top1_accuracy from trials where rank = 4"
    ).rows()
    assert len(rows) == 2
    for compression, theory, stored, drop, difference in rows:
        assert (compression, theory, stored) == (2000 / 800, 2.0, 1.0)
        assert drop == pytest.approx(difference) == pytest.approx(0.1)


def counted_by(rule: int, rank: int | None, seed: int = 0) -> Result:
    made = samples.result(samples.trial(rank, seed))
    return replace(made, measurement=replace(made.measurement, counting_rule=rule))


def without_a_rule(made: Result) -> Result:
    """As a journal of 0.1.0 has it: its lines know no rule."""
    table = json.loads(encode(made))
    del table["measurement"]["counting_rule"]
    return decode(json.dumps(table), Result)


NOTES = "select rank, theoretical_speedup, counting_rule, mac_count_note from trials order by rank nulls first"


def test_a_row_of_an_older_rule_is_marked_and_compared_with_its_like(fill, results: Results) -> None:
    fill(*(without_a_rule(samples.result(samples.trial(rank))) for rank in (None, 4)))
    rows = results.query(NOTES).rows()
    assert rows == [(None, 1.0, 1, "counted by an older rule"), (4, 2.0, 1, "counted by an older rule")]


def test_a_speedup_of_two_rules_is_null_with_the_reason(fill, results: Results) -> None:
    fill(counted_by(1, None), counted_by(2, 4))
    _, (_, speedup, rule, note) = results.query(NOTES).rows()
    assert (speedup, rule) == (None, 2)
    assert note == "no theoretical speedup: the dense network was counted by rule 1, this one by rule 2"
    means = "select theoretical_speedup, compression_ratio, mac_count_note from trial_means where rank = 4"
    assert results.query(means).rows() == [
        (None, 2.5, "no theoretical speedup where the dense network was counted by another rule")
    ]


def test_rows_of_todays_rule_have_no_note(fill, results: Results) -> None:
    fill(counted_by(2, None), counted_by(2, 4))
    assert results.query(NOTES).rows() == [(None, 1.0, 2, None), (4, 2.0, 2, None)]


def test_a_mean_over_seeds_of_two_rules_says_nothing_of_macs(fill, results: Results) -> None:
    fill(*(counted_by(rule, rank, rule) for rule in (1, 2) for rank in (None, 4)))
    columns = "seed_count, mac_count, theoretical_speedup, counting_rule, mac_count_note"
    means = f"select {columns} from trial_means where rank = 4"
    assert results.query(means).rows() == [
        (2, None, None, None, "no mean: the seeds were counted by different rules; counted by an older rule")
    ]


def test_macs_that_nobody_can_count_are_null_and_say_so(fill, results: Results) -> None:
    made = samples.result(samples.trial(4))
    fill(counted_by(2, None), replace(made, measurement=replace(made.measurement, mac_count=None)))
    _, row = results.query(NOTES).rows()
    assert row == (4, None, 2, "unknown: see notes")


def test_a_trial_without_its_dense_twin_has_no_ratio(fill, results: Results) -> None:
    fill(samples.result(samples.trial(4)))
    assert results.query("select compression_ratio, accuracy_drop from trials").rows() == [(None, None)]


def test_swept_parameters_are_columns_of_their_own_type(fill, results: Results) -> None:
    methods = [
        Choice("a", {"rank": 3, "keep": 1, "scope": "global", "bias": True, "sizes": [1, 2], "none": None}),
        Choice("b", {"rank": 4, "keep": 0.25, "seed": 5, "odd name": 1, "Rank": 9}),
        Choice("pipeline", stages=(Choice("svd", {"keep": 0.2}), Choice("kmeans", {"clusters": 32, "keep": 1}))),
    ]
    fill(*(samples.result(samples.trial(method=method)) for method in methods))
    frame = results.query(
        'select method, rank, keep, scope, bias, sizes, clusters, seed, param_seed, "param_Rank", params '
        "from trials order by method"
    )
    kinds = [str(kind) for kind in frame.dtypes]
    assert kinds[:10] == [
        "String",
        "Int64",
        "Float64",
        "String",
        "Boolean",
        "String",
        "Int64",
        "Int64",
        "Int64",
        "Int64",
    ]
    assert frame.row(0)[:7] == ("a", 3, 1.0, "global", True, "[1,2]", None)
    assert frame.row(1)[7:10] == (0, 5, 9)
    assert json.loads(frame.row(1)[10])["odd name"] == 1
    assert frame.row(2)[:7] == ("svd > kmeans", None, None, None, None, None, 32)  # `keep` is two stages'


def test_a_type_widens_when_a_later_run_needs_it(fill, results: Results) -> None:
    fill(samples.result(samples.trial(method=Choice("a", {"level": 1}))))
    assert str(results.query("select level from trials").dtypes[0]) == "Int64"
    fill(samples.result(samples.trial(method=Choice("a", {"level": 0.5}))))
    assert str(results.query("select level from trials").dtypes[0]) == "Float64"
    fill(samples.result(samples.trial(method=Choice("a", {"level": "high"}))), merge=False)
    assert set(results.query("select level from trials")["level"]) == {"1", "0.5", "high"}


def test_a_target_shows_what_was_asked_solved_and_achieved(fill, results: Results) -> None:
    method = Choice("low_rank", {"rank": None}, target={"compression": 4})
    measured = samples.measurement(achieved={"compression": 3.9}, solved={"rank": 7})
    fill(samples.result(samples.trial(method=method), measurement=measured), samples.result(samples.trial(2)))
    row = results.query(
        "select target_compression, achieved_compression, rank, method_label from trials where rank = 7"
    )
    assert row.rows() == [(4.0, 3.9, 7, "low_rank(compression=4)")]


def timed(of: Result, batch: int, speedup: float, low: float, high: float) -> Result:
    made = replace(samples.latency(batch, 1.0, random.Random(0)), speedup=speedup, speedup_low=low, speedup_high=high)
    return replace(of, measurement=replace(of.measurement, latency=(made,)))


@pytest.mark.parametrize(
    ("speedup", "low", "high", "floor", "verdict"),
    [
        (1.2, 1.1, 1.3, 1.05, "faster"),
        (0.8, 0.7, 0.9, 1.05, "slower"),
        (1.2, 0.9, 1.5, 1.0, "can't tell"),
        (1.04, 1.03, 1.05, 1.05, "can't tell"),
        (0.96, 0.95, 0.97, 1.05, "can't tell"),
        (0.96, 0.95, 0.97, 0.952, "can't tell"),
        (1.008, 1.007, 1.009, 1.0, "can't tell"),
        (1.02, 1.015, 1.03, 1.0, "faster"),
    ],
)
def test_a_verdict_needs_an_interval_without_one_and_a_large_effect(
    fill, results: Results, speedup: float, low: float, high: float, floor: float, verdict: str
) -> None:
    dense = timed(samples.result(samples.trial(None)), 8, floor, floor - 0.01, floor + 0.01)
    fill(dense, timed(samples.result(samples.trial(4)), 8, speedup, low, high))
    row = results.query("select verdict, floor from speedups where not is_dense").row(0)
    assert row[0] == verdict
    assert row[1] == pytest.approx(math.exp(abs(math.log(floor))) - 1)


@pytest.mark.parametrize(
    ("clock", "contention", "verdict"),
    [("wall", 0.2, "faster"), ("wall", 0.4, "can't tell"), ("cpu", 0.4, "faster"), ("cuda", 0.0, "faster")],
)
def test_a_wall_clock_that_others_kept_waiting_says_nothing(
    fill, results: Results, clock: str, contention: float, verdict: str
) -> None:
    pruned = timed(samples.result(samples.trial(4)), 8, 1.5, 1.45, 1.55)
    (latency,) = pruned.measurement.latency
    latency = replace(latency, clock=clock, contention=contention)
    fill(replace(pruned, measurement=replace(pruned.measurement, latency=(latency,))))
    assert results.query("select verdict from speedups").rows() == [(verdict,)]


@pytest.mark.parametrize("flag", ["other-threads", "remembers-inputs", "uneven-calls"])
def test_a_clock_that_misjudges_a_side_has_no_verdict_but_its_means(fill, results: Results, flag: str) -> None:
    pruned = timed(samples.result(samples.trial(4)), 8, 1.5, 1.45, 1.55)
    (latency,) = pruned.measurement.latency
    latency = replace(latency, flags=(flag,), pruned_ms=(1.0, 1.0, 4.0), dense_ms=(3.0, 3.0, 4.5))
    fill(replace(pruned, measurement=replace(pruned.measurement, latency=(latency,))))
    row = results.query("select verdict, latency_mean_ms, dense_latency_mean_ms from speedups").row(0)
    assert row == ("can't tell", 2.0, 3.5)


@pytest.mark.parametrize(
    ("changes", "rounds", "floor", "verdict"),
    [
        ({}, 1, 0.03, "can't tell"),
        ({}, 5, 0.0, "faster"),
        ({"flags": ("one-process",)}, 5, 0.03, "can't tell"),
        ({"compile": False}, 1, 0.0, "faster"),
        ({"latency_ms": 0.12, "dense_latency_ms": 0.1}, 1, 0.0, "faster"),
    ],
)
def test_very_short_compiled_calls_need_an_effect_of_three_percent(
    fill, results: Results, changes: dict[str, Any], rounds: int, floor: float, verdict: str
) -> None:
    made = []
    for rank, speedup in ((None, 1.0), (4, 1.025)):
        some = timed(samples.result(samples.trial(rank)), 1, speedup, speedup - 0.005, speedup + 0.005)
        (latency,) = some.measurement.latency
        latency = replace(latency, **{"compile": True, "latency_ms": 0.03, "dense_latency_ms": 0.03, **changes})
        protocol = replace(some.trial.protocol, latency=LatencyProtocol(compile=True, rounds=rounds))
        trial = replace(some.trial, protocol=protocol)
        made.append(replace(some, trial=trial, measurement=replace(some.measurement, latency=(latency,))))
    fill(*made)
    assert results.query("select floor, verdict from speedups where not is_dense").rows() == [(floor, verdict)]


def test_a_floor_is_of_its_own_machine_model_and_batch_only(fill, results: Results) -> None:
    here = timed(samples.result(samples.trial(None)), 8, 1.5, 1.4, 1.6)
    elsewhere = replace(here, provenance=replace(samples.PROVENANCE, host="other"), trial=samples.trial(None, 1))
    other_batch = timed(samples.result(samples.trial(None, 2)), 16, 1.0, 0.9, 1.1)
    pruned = timed(samples.result(samples.trial(4)), 16, 1.2, 1.1, 1.3)
    fill(here, elsewhere, other_batch, pruned)
    assert results.query("select floor, verdict from speedups where not is_dense").rows() == [(0.0, "faster")]


def test_means_and_their_intervals_are_those_of_student(fill, results: Results) -> None:
    scores = [0.91, 0.90, 0.94, 0.89]
    rows = []
    for seed, score in enumerate(scores):
        rows.append(samples.result(samples.trial(None, seed)))
        pruned = samples.result(samples.trial(4, seed))
        rows.append(replace(pruned, measurement=replace(pruned.measurement, top1_accuracy=score)))
    fill(*rows)
    row = results.query("select * from trial_means where method = 'low_rank'").row(0, named=True)
    low, high = stats.t.interval(0.95, 3, stats.tmean(scores), stats.sem(scores))
    assert row["seed_count"] == 4
    assert row["top1_accuracy"] == pytest.approx(stats.tmean(scores))
    assert row["top1_accuracy_std"] == pytest.approx(stats.tstd(scores))
    assert (row["top1_accuracy_low"], row["top1_accuracy_high"]) == pytest.approx((low, high), rel=1e-4)
    assert row["batch"] == 64
    assert row["is_single_seed"] is False


def test_a_single_seed_has_no_interval_and_says_so(fill, results: Results) -> None:
    fill(samples.result(samples.trial(4)))
    row = results.query("select is_single_seed, top1_accuracy_low, top1_accuracy_std from trial_means").row(0)
    assert row == (True, None, None)


@pytest.mark.parametrize(
    ("lost", "won", "both", "neither"), [(5, 1, 60, 10), (80, 20, 500, 40), (0, 0, 50, 6), (3, 30, 9, 1)]
)
def test_mcnemar_and_the_interval_are_those_of_the_counts(
    fill, results: Results, lost: int, won: int, both: int, neither: int
) -> None:
    dense_bits = "1" * lost + "0" * won + "1" * both + "0" * neither
    pruned_bits = "0" * lost + "1" * won + "1" * both + "0" * neither
    dense = with_bits(samples.result(samples.trial(None)), dense_bits)
    fill(with_bits(samples.result(samples.trial(4)), pruned_bits), dense)  # the dense one comes last
    row = results.query("select * from comparison").row(0, named=True)
    assert (row["dense_only_count"], row["pruned_only_count"], row["both_count"]) == (lost, won, both)
    odd = lost + won
    exact = stats.binomtest(min(lost, won), odd).pvalue if odd else 1.0
    corrected = stats.chi2.sf((abs(lost - won) - 1) ** 2 / odd, 1) if odd else 1.0
    assert row["mcnemar_p"] == pytest.approx(exact if odd <= 50 else corrected, rel=1e-3, abs=1e-6)
    n = len(dense_bits)
    assert row["accuracy_drop"] == pytest.approx((lost - won) / n)
    centre = (lost - won) / (n + 2)
    half = 1.959964 * math.sqrt(odd + 1 - (lost - won) ** 2 / (n + 2)) / (n + 2)
    assert (row["accuracy_drop_low"], row["accuracy_drop_high"]) == pytest.approx((centre - half, centre + half))
    expected = "worse" if centre - half > 0 else "better" if centre + half < 0 else "can't tell"
    assert row["verdict"] == expected


def test_a_dense_network_with_other_weights_is_marked(fill, results: Results) -> None:
    other = replace(samples.PROVENANCE, dense_hash="e" * 64)
    fill(samples.result(samples.trial(None)), samples.result(samples.trial(4), provenance=other))
    assert results.query("select same_weights from comparison").rows() == [(False,)]


def test_bitmaps_that_are_absent_or_of_other_length_leave_the_test_open(fill, results: Results) -> None:
    bare = samples.result(samples.trial(2))
    other = samples.result(samples.trial(4))
    fill(
        samples.result(samples.trial(None)),
        replace(bare, measurement=replace(bare.measurement, correct="")),
        replace(other, measurement=replace(other.measurement, correct=bitmap("1010101"))),
    )
    assert results.query("select mcnemar_p, verdict from comparison").rows() == [(None, "can't tell")] * 2


def test_the_front_is_what_brute_force_finds(fill, results: Results) -> None:
    rng = random.Random(3)
    rows = [samples.result(samples.trial(None))]
    for rank in range(1, 30):
        of = samples.result(samples.trial(rank))
        facts = {"top1_accuracy": round(rng.random(), 1), "nonzero_parameter_count": rng.choice([100, 200, 400, 800])}
        rows.append(replace(of, measurement=replace(of.measurement, **facts)))
    fill(*rows)
    points = results.query("select method_label, compression_ratio, top1_accuracy from trial_means").rows()
    front = {
        (ratio, accuracy)
        for _, ratio, accuracy in points
        if not any((r > ratio and a >= accuracy) or (r >= ratio and a > accuracy) for _, r, a in points)
    }
    found = results.query(
        "select compression_ratio, top1_accuracy from pareto where objective = 'compression_ratio' order by 1"
    ).rows()
    assert set(found) == front
    assert len(found) == len(front)
    assert all(a > b for (_, a), (_, b) in pairwise(found))


def test_failures_list_what_has_no_result_with_its_reason(fill, results: Results) -> None:
    fill(
        samples.result(samples.trial(2), status="skipped", reason="no convolution", measurement=None),
        samples.result(samples.trial(4), status="failed", reason="broke", detail="Traceback …", measurement=None),
        samples.result(samples.trial(8)),
    )
    rows = results.query("select status, reason, detail from failures order by status").rows()
    assert rows == [("failed", "broke", "Traceback …"), ("skipped", "no convolution", None)]


def test_layers_curves_stages_metrics_and_samples_come_back_as_measured(fill, results: Results) -> None:
    alone = LayerRecord("conv", "conv2d", (4, 3, 3, 3), left_alone="rank is above break-even")
    of = samples.result(samples.trial(4))
    measured = replace(of.measurement, layers=(*of.measurement.layers, alone))
    fill(replace(of, measurement=measured))
    layers = results.query(
        "select layer, shape_before, shape_after, layer_rank, left_alone from layers order by position"
    )
    assert layers.rows() == [
        ("fc", [10, 20], [[10, 4], [4, 20]], 4, None),
        ("conv", [4, 3, 3, 3], [], None, "rank is above break-even"),
    ]
    assert results.query("select phase, epoch, validation_accuracy from curves").rows() == [("finetune", 1, 0.9)]
    assert results.query("select position, method, stored_bytes from stages").rows() == [(0, "low_rank", 4000)]
    assert results.query("select metric, value, unit from metrics").rows() == [("energy", 1.5, "J")]
    times = results.query("select dense_ms from latency_samples where batch = 64 order by block")["dense_ms"].to_list()
    assert tuple(times) == measured.latency[1].dense_ms


def test_sides_say_what_was_chosen_for_each_and_only_where_something_was(fill, results: Results) -> None:
    of = samples.result(samples.trial(4))
    plain, other = of.measurement.latency
    chosen = {
        "dense_memory_format": "channels_last", "dense_channels_last_gain": 1.25,
        "pruned_memory_format": "contiguous", "pruned_channels_last_gain": None,
        "dense_in_place": 3, "dense_activations": 4, "pruned_in_place": 0, "pruned_activations": 0,
    }  # fmt: skip
    fastest = replace(other, memory_format="fastest", conditions=chosen)
    in_place = replace(plain, batch=7, memory_format="channels_last", conditions={"dense_in_place": 1})
    fill(replace(of, measurement=replace(of.measurement, latency=(plain, fastest, in_place))))
    rows = results.query("select * exclude (trial_id) from sides order by batch, side").rows()
    assert rows == [
        (7, "dense", "channels_last", None, 1, None),
        (7, "pruned", "channels_last", None, None, None),
        (64, "dense", "channels_last", 1.25, 3, 4),
        (64, "pruned", "contiguous", None, 0, 0),
    ]


def test_controls_are_dense_random_and_what_the_run_says(fill, results: Results) -> None:
    names = ("random", "random_matched", "random_matmul", "mine")
    rows = [samples.result(samples.trial(method=Choice(name))) for name in names]
    fill(samples.result(samples.trial(None)), *rows, run=samples.run("r", options={"controls": ["mine"]}))
    found = set(results.query("select method from trials where is_control")["method"])
    assert found == {"dense", "random", "random_matched", "mine"}
    assert found == set(results.query("select method from trial_means where is_control")["method"])


def test_a_view_of_an_empty_run_has_columns_and_no_rows(store: Store, results: Results) -> None:
    store.open_run(samples.run()).close()
    store.merge()
    for view in view_statements():
        frame = results.query(f"select * from {view}")
        assert frame.columns
        assert len(frame) == (1 if view == "runs" else 0)


@pytest.mark.parametrize("run_id", ["", "run-1"])
def test_no_view_multiplies_all_methods_by_all_models(fill: Any, run_id: str) -> None:
    """Narrowed to a run, labels were once looked up in a product of all dimensions: 300 times the work."""
    store = fill(*(samples.result(samples.trial(rank)) for rank in range(1, 9)), run=samples.run("run-1"))
    connection = db.connect()
    open_catalog(connection, store.path, run_id)
    products = set()
    for view in ("labelled_trials", *view_statements()):
        (_, plan) = connection.execute(f"explain select * from {view}").fetchone() or ("", "")
        if "CROSS_PRODUCT" in plan or "Cross Product" in plan:
            products.add(view)
    connection.close()
    assert products == {"sides"}  # dense and pruned: two rows from each
