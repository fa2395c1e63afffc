"""Numbers and text beside classes: what compare, audit, saved queries, charts, page and closing table say of them."""

from __future__ import annotations

import io
import math
import random
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from prunebench.cli.summary import headline_table
from prunebench.judging.audit import audit
from prunebench.judging.compare import compare
from prunebench.measure.statistics import pack_values
from prunebench.records import Choice, ObjectiveFacts
from prunebench.report import Scope
from prunebench.report.build import Extras, build
from prunebench.report.charts import load
from prunebench.report.charts.tradeoff import floor_lines
from prunebench.report.draw import alone, titled
from prunebench.report.headlines import headline
from prunebench.store import Store, open_results
from prunebench.store.queries import saved_query
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import store_samples as samples

# Of an objective that nobody has installed: its facts travel with the results.
R2 = ObjectiveFacts("tides", "r2", "r²", "", near=(0.01, 0.05), paired="values", floors={"mean": -0.01})
PERPLEXITY = ObjectiveFacts(
    "language_modelling", "perplexity", "perplexity", "", False, "ratio", (0.01, 0.05), "values",
    {"uniform": 256.0, "unigram": 21.0},
)  # fmt: skip
SCORES = {  # data set, rank (None: dense) -> a score for each of three seeds
    ("table", None): (R2, (0.90, 0.91, 0.92)),
    ("table", 4): (R2, (0.60, 0.62, 0.61)),
    ("table", 1): (R2, (-0.02, -0.03, -0.02)),
    ("prose", None): (PERPLEXITY, (5.0, 5.1, 5.2)),
    ("prose", 4): (PERPLEXITY, (6.0, 6.15, 6.2)),
    ("prose", 1): (PERPLEXITY, (30.0, 31.0, 32.0)),
}


def results(worse: float = 0.0, times: float = 1.0):
    """All of them; r2 lower by `worse` and perplexities `times` as large."""
    for (dataset, rank), (facts, scores) in SCORES.items():
        for seed, score in enumerate(scores):
            of = samples.result(samples.trial(rank, seed, dataset=Choice(dataset)))
            found = score - worse if facts is R2 else score * times
            left = {None: 2000, 4: 800, 1: 100}[rank]
            yield replace(of, measurement=replace(
                of.measurement, top1_accuracy=None, top5_accuracy=None, top1_accuracy_before_finetune=None, correct="",
                objective=facts, score=found, scores={facts.score: found}, nonzero_parameter_count=left,
            ))  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    store = Store(tmp_path_factory.mktemp("scores") / "results.duckdb")
    for name, changes in (("a", {}), ("b", {"worse": 0.02, "times": 1.03})):
        with store.open_run(samples.run(name)) as journal:
            for result in results(**changes):
                journal.append(result)
    store.merge()
    return store.path


def judged(rank, seed, shift, weights=None):
    """A result whose 60 samples have losses that `shift` moves, and maybe weights."""
    draw = random.Random(7)
    losses = [draw.expovariate(1) * (weights[i] if weights else 1) for i in range(60)]
    moved = random.Random(rank or 0)
    own = [x + shift * (weights[i] if weights else 1) + moved.gauss(0, 0.3) for i, x in enumerate(losses)]
    of = samples.result(samples.trial(rank, seed, dataset=Choice("table")))
    packed = [pack_values(np.float32(values)) if values else "" for values in (own, weights)]
    made = replace(of.measurement, correct="", top1_accuracy=None, objective=R2, score=0.9, scores={"r2": 0.9},
                   test_count=60, values=packed[0], weights=packed[1])  # fmt: skip
    return replace(of, measurement=made), np.float32(own).astype(float)


@pytest.mark.parametrize(("shift", "word"), [(0.5, "worse"), (-0.5, "better"), (0.0, "can't tell")])
def test_values_are_compared_by_students_interval_as_scipy_has_it(tmp_path, shift, word):
    from scipy.stats import ttest_rel

    (dense, before), (pruned, after) = judged(None, 0, 0.0), judged(4, 0, shift)
    found = compared(tmp_path, dense, pruned)
    interval = ttest_rel(after, before).confidence_interval(0.95)
    assert found["loss_difference"] == pytest.approx(float((after - before).mean()), rel=1e-6)
    assert (found["loss_difference_low"], found["loss_difference_high"]) == pytest.approx(interval, rel=1e-6)
    assert (found["verdict"], found["pair_count"], found["mcnemar_p"]) == (word, 60, None)


def test_weighted_samples_have_the_interval_of_a_jackknife(tmp_path):
    weights = [1 + i % 7 for i in range(60)]
    (dense, before), (pruned, after) = judged(None, 0, 0.0, weights), judged(4, 0, 0.2, weights)
    found = compared(tmp_path, dense, pruned)
    odd, weight = after - before, np.array(weights, float)
    without = [(odd.sum() - odd[i]) / (weight.sum() - weight[i]) for i in range(60)]
    error = math.sqrt(59 / 60 * sum((x - np.mean(without)) ** 2 for x in without))
    assert found["loss_difference"] == pytest.approx(odd.sum() / weight.sum(), rel=1e-6)
    half = (found["loss_difference_high"] - found["loss_difference_low"]) / 2
    assert half == pytest.approx(2.0009954 * error, rel=0.03)  # t of 59 degrees; the two errors agree to order 1/n


def compared(folder, *of):
    store = Store(folder / "results.duckdb")
    with store.open_run(samples.run("paired")) as journal:
        for result in of:
            journal.append(result)
    store.merge()
    with open_results(store.path) as opened:
        return opened.query("from comparison").row(0, named=True)


@pytest.fixture(scope="module")
def rows(path):
    """`rows(sql)` of the results."""
    with open_results(path) as opened:
        yield opened.query


def test_each_objective_is_compared_in_its_own_way(path):
    made = {d.metric: d for d in compare(path, "a", "b").differences}
    assert "top1_accuracy" not in made
    assert (made["r2"].effect, made["r2"].is_ratio, made["r2"].verdict) == (pytest.approx(-0.02), False, "worse")
    assert (made["perplexity"].effect, made["perplexity"].is_ratio) == (pytest.approx(1.03), True)
    assert (made["perplexity"].verdict, made["perplexity"].title) == ("worse", "perplexity")
    assert made["r2"].pair_count == made["perplexity"].pair_count == 9
    tolerated = {d.metric: d.verdict for d in compare(path, "a", "b", tolerance=0.05).differences}
    assert tolerated["r2"] == tolerated["perplexity"] == "same"
    assert {d.metric: d.verdict for d in compare(path, "b", "a").differences}["perplexity"] == "better"


def test_the_audit_speaks_of_scores_where_there_is_no_accuracy(path):
    points = audit(path, "a")
    top5 = next(point for point in points if point.title == "top-1 and top-5 accuracy")
    assert top5.status == "does not apply"
    assert not any("accuracy" in point.title + point.found for point in points if point is not top5)


def test_saved_queries_hold_every_objective(rows):
    methods = rows(saved_query("methods")).rows(named=True)
    losses = {row["score_name"]: row["mean_loss"] for row in methods if row["method"] == "low_rank"}
    dense, kept, lost = (SCORES["table", rank][1] for rank in (None, 4, 1))
    wanted = [statistics.fmean(d - k for d, k in zip(dense, other, strict=True)) for other in (kept, lost)]
    assert losses["r2"] == pytest.approx(statistics.fmean(wanted))
    dense, kept, lost = (SCORES["prose", rank][1] for rank in (None, 4, 1))
    wanted = [statistics.fmean(math.log(k / d) for d, k in zip(dense, other, strict=True)) for other in (kept, lost)]
    assert losses["perplexity"] == pytest.approx(statistics.fmean(wanted))
    front = rows(saved_query("pareto"))
    assert front["score"].null_count() == 0 and set(front["score_name"]) == {"r2", "perplexity"}
    assert rows(saved_query("best")).height == 0  # nothing here is as good as dense


def test_charts_draw_the_floors_that_are_near(rows):
    chart = load("accuracy_compression")
    frame = rows(chart.sql)
    found = {row["panel"].split(" ")[0]: row for row in frame.rows(named=True)}
    assert (found["table"]["score_floor"], found["table"]["score_floor_name"]) == (-0.01, "mean")
    hardest, weaker = found["prose"]["score_floor"], found["prose"]["weaker_floor"]
    assert (hardest, found["prose"]["score_floor_name"]) == (21.0, "unigram")
    assert (weaker, found["prose"]["weaker_floor_name"]) == (256.0, "uniform")
    at_floor = {row["panel"].split(" ")[0] for row in frame.rows(named=True) if row["is_at_floor"]}
    assert at_floor == {"table", "prose"}
    drawn = str(alone(chart, frame).to_dict())
    assert "without a network" in drawn and "2 * datum.least - datum.most" in drawn
    assert titled(chart, frame) == "Score against compression"
    assert titled(chart, frame.filter(frame["score_title"] == "perplexity")) == "Perplexity against compression"


def test_an_objective_of_ratios_has_a_logarithmic_axis_by_any_name(rows):
    chart = load("accuracy_compression")
    frame = rows(chart.sql).with_columns(score_title=pl.lit("spread of tides"))
    prose, table = (frame.filter(pl.col("panel").str.starts_with(name)) for name in ("prose", "table"))
    assert (set(prose["score_compared"]), set(table["score_compared"])) == ({"ratio"}, {"difference"})
    below = prose.with_columns(accuracy=-pl.col("accuracy"))
    drawn = [str(alone(chart, one).to_dict()) for one in (prose, table, below)]
    assert ["Spread of tides (smaller is better, logarithmic)" in one for one in drawn] == [True, False, False]


@pytest.mark.parametrize(
    ("weaker", "named"), [(0.19, ["majority"]), (0.1, ["majority", "chance"]), (None, ["majority"])]
)
def test_two_floors_are_both_named_where_their_names_have_room(weaker, named):
    rows = pl.DataFrame({"accuracy": [0.1, 0.5, 0.9], "score_floor": [0.2] * 3, "score_floor_name": ["majority"] * 3,
                         "weaker_floor": [weaker] * 3, "weaker_floor_name": ["chance"] * 3})  # fmt: skip
    drawn = vl_convert.vegalite_to_svg(alt.layer(*floor_lines(rows)).to_json())
    assert [name for name in ("majority", "chance") if f"without a network: {name}" in drawn] == named


def test_the_page_and_the_closing_table_name_what_is_at_its_floor(path):
    with open_results(path) as opened:
        page = build(opened, Scope("a"), Extras(path))
        frame = headline(opened, Scope("a"))
    assert "need no network: low_rank rank=1 on prose" in page and "R²" not in page
    assert "one percentage point" not in page and "Perplexity against compression" in page
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(headline_table(frame))
    lines = console.export_text().splitlines()
    floored = [line for line in lines if "rank=1" in line]
    assert len(floored) == 4 and all("faster, at its floor" in line for line in floored)
    assert not any("at its floor" in line for line in lines if "rank=4" in line)
    assert "perplexity, smaller is better" in " ".join(" ".join(lines).split())
