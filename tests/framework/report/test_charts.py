"""Charts: the numbers of their queries, and what they draw."""

import json
import re
import statistics
from dataclasses import replace

import polars as pl
import prunebench
import pytest
from prunebench.errors import PruneBenchError, QueryError
from prunebench.report import Scope
from prunebench.report.charts import NAMES, load, load_all
from prunebench.report.charts.heat import ABOVE
from prunebench.report.draw import alone, panel_spec
from prunebench.report.export import chart_rows, picture, specification
from prunebench.report.headlines import by_setting, headline
from prunebench.report.plugin_charts import find_chart
from prunebench.report.scope import EVERYTHING
from prunebench.report.style import LIGHT, SHAPES, Series, series_of
from prunebench.store import open_results

from tests.framework.report import synthetic
from tests.framework.report.conftest import page_of, store_results

TRADEOFFS = {
    "accuracy_compression": "compression_ratio",
    "accuracy_theoretical_speedup": "theoretical_speedup",
    "accuracy_stored_bytes": "stored_bytes",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_query_gives_the_columns_that_its_chart_names(results, name):
    chart = load(name)
    frame = results.query(chart.sql)
    assert frame.height
    assert set(frame.columns) <= set(chart.columns)
    assert EVERYTHING in chart.sql and chart.sql.startswith("-- ")


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_a_valid_specification_with_alternative_text(results, name):
    chart = load(name)
    frame = chart_rows(chart, results, Scope("synthetic-1"))
    assert alone(chart, frame.head(3)).to_dict(validate=True)
    assert len(chart.about) > 40 and chart.title and chart.empty
    spec = panel_spec(chart, series_of([("dense", True), ("pca", False)]))
    assert "rows" not in spec and "datasets" not in spec


@pytest.mark.parametrize(("name", "column"), TRADEOFFS.items())
def test_points_are_means_over_seeds(results, name, column):
    rows = results.query(load(name).sql)
    trials = results.query("select * from trials where status = 'ok' and method = 'low_rank' and model = 'lenet5'")
    for label, group in trials.group_by("method_label"):
        (row,) = rows.filter((pl.col("setting") == label[0]) & pl.col("panel").str.ends_with("lenet5")).to_dicts()
        accuracies = group["top1_accuracy"].to_list()
        assert row["x"] == pytest.approx(statistics.fmean(group[column].to_list()))
        assert row["accuracy"] == pytest.approx(statistics.fmean(accuracies))
        assert row["accuracy_high"] - row["accuracy"] == pytest.approx(statistics.stdev(accuracies))
        assert row["seed_count"] == 3


@pytest.mark.parametrize("name", TRADEOFFS)
def test_the_front_holds_what_nothing_beats_on_both_axes(results, name):
    sign = -1 if name == "accuracy_stored_bytes" else 1
    rows = results.query(load(name).sql)
    for _, group in rows.group_by("panel"):
        points = group.to_dicts()
        for one in points:
            beaten = any(
                other is not one and sign * other["x"] >= sign * one["x"] and other["accuracy"] >= one["accuracy"]
                for other in points
            )
            assert one["is_best"] == (not beaten)


def test_controls_are_in_every_tradeoff(results):
    for name in (*TRADEOFFS, "accuracy_speedup"):
        assert {"dense", "random"} <= set(results.query(load(name).sql)["method"])


def test_speedups_are_geometric_means_with_students_interval(results):
    rows = results.query(load("accuracy_speedup").sql)
    ours = rows.filter((pl.col("part") == "batch 64") & (pl.col("x_low").is_not_null()))
    means = results.query("select * from speedup_means where batch = 64")
    for row in ours.filter(pl.col("panel").str.ends_with("lenet5")).to_dicts():
        (mean,) = means.filter((pl.col("method_label") == row["setting"]) & (pl.col("model") == "lenet5")).to_dicts()
        assert row["x"] == pytest.approx(mean["speedup"])
        assert row["x_low"] == pytest.approx(mean["speedup_low"], rel=1e-3)
        assert row["x_high"] == pytest.approx(mean["speedup_high"], rel=1e-3)


def test_latency_quantiles_are_in_order_and_count_every_block(results):
    rows = results.query(load("latency").sql)
    assert (rows["p05"] <= rows["p25"]).all() and (rows["p50"] <= rows["p95"]).all()
    assert set(rows["block_count"]) <= {20, 40, 60}


def test_a_layer_left_alone_has_its_reason(results):
    rows = results.query(load("layer_kept").sql)
    assert rows.filter(pl.col("layer") == "conv1")["left_alone"].unique().to_list() == [
        "rank 6 saves nothing here: break-even is 5"
    ]


def test_a_layer_that_grew_has_its_own_colour_and_leaves_the_scale():
    same = {"label": "cp", "method": "cp", "setting": "cp", "panel": "p", "place": 0, "left_alone": None}
    kept = [0.5, 1.0, 1.0004, 3.35]
    rows = pl.DataFrame([{**same, "layer": f"fc{n}", "position": n, "kept": value} for n, value in enumerate(kept)])
    svg = picture(specification(load("layer_kept"), rows), "svg").decode()
    assert svg.count(f'fill="{ABOVE}"') == 1
    assert svg.count('fill="rgb(11, 79, 138)"') == 2  # the end of the ramp, for the layers that kept everything


@pytest.mark.parametrize(("low", "high", "digits"), [(0.1, 0.95, 0), (0.858, 0.869, 1), (0.8612, 0.8618, 2)])
def test_accuracies_that_lie_close_have_ticks_that_tell_them_apart(low, high, digits):
    same = {"panel": "p", "method": "pca", "setting": "pca", "part": "training", "loss": 1.0, "curve_count": 1}
    spread = {"accuracy_low": low, "accuracy_high": high, "seed_count": 3}
    rows = pl.DataFrame([{**same, **spread, "epoch": n, "accuracy": value} for n, value in enumerate((low, high))])
    svg = picture(specification(load("curves"), rows), "svg").decode()
    ticks = re.findall(r">(\d+(?:\.(\d+))?%)<", svg)
    assert len(ticks) > 3
    assert len({label for label, _ in ticks}) == len(ticks)
    assert {len(decimals) for _, decimals in ticks} == {digits}


def test_beyond_many_settings_neighbours_are_one_row_that_says_so(tmp_path):
    settings = [1 + place / 10 for place in range(1, 90)]
    path = store_results(tmp_path, synthetic.grid_results(["digits"], ["lenet5"], ["magnitude"], settings, 1, ()))
    with open_results(path) as results:
        rows = results.query(load("accuracy_compression").sql.replace("1500", "50"))
    assert rows.height < 60
    assert rows["point_count"].sum() == 90
    assert rows.filter(pl.col("point_count") > 1)["setting"].str.contains("settings of magnitude").all()


def test_a_run_has_also_the_trials_that_an_earlier_run_had_done(tmp_path):
    done = list(synthetic.grid_results(["digits"], ["lenet5"], ["pca"], [4], 1, (1,)))
    path = store_results(tmp_path, done, "first")
    ids = tuple(result.trial.id for result in done)
    from dataclasses import replace

    from prunebench.store import Store

    Store(path).open_run(replace(synthetic.run_record("second", 2), trial_ids=ids)).close()
    with open_results(path) as results:
        assert headline(results, Scope("second-1"))["method"].unique().sort().to_list() == ["dense", "pca"]


def test_training_curves_end_where_the_first_seed_stops(tmp_path):
    """Seeds that stop early would leave the mean to those that still run."""
    dense = [synthetic.result("digits", "lenet5", synthetic.DENSE, 1, seed, ()) for seed in (0, 1)]
    short = replace(dense[0].measurement, curve=dense[0].measurement.curve[:3])
    path = store_results(tmp_path, [replace(dense[0], measurement=short), dense[1]])
    with open_results(path) as opened:
        rows = opened.query(load("curves").sql)
    means = [(a.validation_accuracy + b.validation_accuracy) / 2
             for a, b in zip(short.curve, dense[1].measurement.curve, strict=False)]  # fmt: skip
    assert rows["epoch"].to_list() == [1, 2, 3] and rows["curve_count"].to_list() == [2, 2, 2]
    assert rows["accuracy"].to_list() == pytest.approx(means)


def test_a_query_narrows_the_trials(results):
    rows = headline(results, Scope(query="select trial_id from trials where method = 'pca';"))
    assert rows["method"].unique().to_list() == ["pca"]


def test_a_scope_quotes_its_run():
    assert "'x''; drop table run; --'" in Scope("x'; drop table run; --").select
    with pytest.raises(QueryError, match="must begin"):
        Scope().limit("select 1")


def test_the_headline_has_a_verdict_a_batch_size(results):
    wide, parts = by_setting(headline(results, Scope("synthetic-1")))
    assert parts == ["batch 1", "batch 64"]
    fast = wide.filter(pl.col("setting") == "low_rank(section=all, compression=32)")
    assert set(fast["verdict batch 64"]) == {"faster"}
    assert wide.filter(pl.col("method") == "dense")["verdict batch 64"].null_count() == 2


def test_twenty_five_methods_differ_in_shape_two_hundred_at_all():
    looks = {(one.colour("light"), one.shape) for one in series_of((f"m{i:02}", False) for i in range(200))}
    assert len(looks) == 200 == len(LIGHT) * len(SHAPES)
    assert len({one.shape for one in series_of((f"m{i:02}", False) for i in range(25))}) == 25


def test_controls_have_marks_that_no_method_has():
    marks = {Series("dense", True, 0).shape, Series("random", True, 0).shape}
    assert len(marks) == 2 and not marks & set(SHAPES)


def test_an_unknown_chart_is_refused_with_the_known_ones():
    with pytest.raises(PruneBenchError, match="did you mean 'latency'"):
        find_chart("latncy")
    assert load("pareto").name == "accuracy_compression"
    assert len({chart.title for chart in load_all()}) == len(NAMES)


def test_runtimes_are_drawn_side_by_side_with_the_promise(tmp_path):
    def run_in(runtime, result):
        conditions = {"runtime": runtime, "pruned_file_bytes": 100, "pruned_agrees": True}
        timings = tuple(replace(one, conditions=conditions) for one in result.measurement.latency)
        latency = replace(result.trial.protocol.latency, runtime=runtime)
        trial = replace(result.trial, protocol=replace(result.trial.protocol, latency=latency))
        return replace(result, trial=trial, measurement=replace(result.measurement, latency=timings))

    plain = [result for result in synthetic.grid_results() if result.measurement and result.measurement.latency]
    there = [run_in("onnxruntime", result) for result in plain]
    path = store_results(tmp_path, [*plain, *there])
    drawn = json.dumps(prunebench.open_results(path).chart("runtimes").to_dict())
    assert '"tick"' in drawn and '"onnxruntime"' in drawn
    with open_results(path) as found:
        rows = found.query(load("runtimes").sql)
        torch, other = (rows.filter(pl.col("runtime") == name) for name in ("torch", "onnxruntime"))
        assert torch.height == other.height > 0
        assert torch["speedup"].to_list() == other["speedup"].to_list()
        seen = found.query("select distinct runtime, file_bytes, agrees from runtimes order by runtime")
        assert seen.rows() == [("onnxruntime", 100, True), ("torch", None, None)]
        floors = found.query("select distinct runtime from floors order by runtime")
        assert floors["runtime"].to_list() == ["onnxruntime", "torch"]
        panels = found.query(load("promised_speedup").sql)["panel"].unique().to_list()
        ends = {panel.rpartition(" · ")[2] for panel in panels}
        assert ends == {"torch", "onnxruntime"}, "protocols that differ in their runtime are titled by it"
        assert set(rows.columns) <= set(load("runtimes").columns)
    asked = load("runtimes").title
    assert asked in page_of(path), "a run in several runtimes answers it on its page"
    assert asked not in page_of(store_results(tmp_path / "torch", plain))


def test_a_training_curve_ends_where_the_first_seed_stops(tmp_path):
    """Of two seeds one stops after three epochs: a mean of the other alone would go on as if it were of both."""
    first, second = synthetic.grid_results(["digits"], ["lenet5"], methods=(), seeds=2)
    short = tuple(point for point in second.measurement.curve if point.epoch <= 3)
    path = store_results(tmp_path, [first, replace(second, measurement=replace(second.measurement, curve=short))])
    with open_results(path) as results:
        frame = chart_rows(load("curves"), results, Scope())
    assert frame.filter(pl.col("part") == "training")["epoch"].to_list() == [1, 2, 3]
    assert set(frame["seed_count"]) == {2}


def test_language_models_are_drawn_reading_and_writing(tmp_path):
    def read_and_written(result):
        first = replace(result.measurement.latency[0], mode="prefill", token_count=128)
        then = replace(first, mode="decode", token_count=1, context=127, latency_ms=2.0)
        return replace(result, measurement=replace(result.measurement, latency=(first, then)))

    timed = [result for result in synthetic.grid_results() if result.measurement and result.measurement.latency]
    path = store_results(tmp_path, [read_and_written(result) for result in timed])
    with open_results(path) as found:
        rows = found.query(load("token_speeds").sql)
    assert set(rows.columns) <= set(load("token_speeds").columns)
    reading, writing = (rows.filter(pl.col("mode") == mode) for mode in ("prefill", "decode"))
    assert reading.height == writing.height > 0 and reading["speedup"].to_list() == writing["speedup"].to_list()
    batch = int(writing["part"][0].removeprefix("batch "))
    assert writing["tokens_per_second"].to_list() == [batch * 1000 / 2.0] * writing.height
    assert '"decode"' in json.dumps(prunebench.open_results(path).chart("token_speeds").to_dict())


@pytest.mark.parametrize(("is_ratio", "kind"), [(True, "log"), (False, "linear")])
def test_a_score_of_ratios_stands_on_a_logarithmic_axis(is_ratio, kind):
    spec = panel_spec(load("accuracy_compression"), series_of([("pca", False)]), ("spread", "", False), is_ratio)
    axes = [layer["encoding"]["y"] for layer in spec["layer"] if layer.get("encoding", {}).get("y", {}).get("scale")]
    assert axes and {axis["scale"].get("type", "linear") for axis in axes} == {kind}
    below = [step["calculate"] for layer in spec["layer"] for step in layer.get("transform", ()) if "calculate" in step]
    assert any("accuracy * datum.accuracy" in one for one in below) == (kind == "log")  # no bar ends below zero
