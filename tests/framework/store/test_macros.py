"""What the views say by SQL macros is what `measure.statistics` says, on grids of whatever they are handed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import store_samples as samples
from duckdb import DuckDBPyConnection
from prunebench.measure import statistics
from prunebench.report.headlines import headline
from prunebench.report.scope import Scope
from prunebench.store import database as db
from prunebench.store.views import build_views, view_statements
from scipy import stats


@pytest.fixture(scope="module")
def connection() -> Iterator[DuckDBPyConnection]:
    made = db.connect()
    db.migrate(made)
    build_views(made)
    yield made
    made.close()


def test_t95_is_students_t_for_two_to_a_thousand_values(connection: DuckDBPyConnection) -> None:
    rows = connection.execute("select n, t95(n) from range(2, 1001) as t(n)").fetchall()
    assert len(rows) == 999
    for n, found in rows:
        assert found == pytest.approx(statistics.t_quantile(0.975, n - 1), rel=2e-7), n
        assert found == pytest.approx(stats.t.ppf(0.975, n - 1), rel=2e-7), n


def test_t95_of_fewer_than_two_values_is_null(connection: DuckDBPyConnection) -> None:
    assert connection.execute("select t95(1), t95(0), t95(null)").fetchone() == (None, None, None)


@pytest.mark.parametrize("n", [2, 3, 10, 11, 12, 31, 32, 33, 200])
def test_half95_is_half_of_the_t_interval(connection: DuckDBPyConnection, n: int) -> None:
    values = [random.Random(n).gauss(3, 2) for _ in range(n)]
    (found,) = connection.execute("select half95(v) from (select unnest(?) as v)", [values]).fetchone() or (None,)
    interval = statistics.t_interval(values)
    assert found == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)


def test_the_verdict_on_speed_is_the_one_of_python(connection: DuckDBPyConnection) -> None:
    effects = [0.0, 0.004, 0.0099, 0.0101, 0.02, 0.031, 0.1, 1.0]
    cases = [
        (math.exp(sign * effect), math.exp(sign * effect - below), math.exp(sign * effect + above), floor)
        for sign in (1, -1)
        for effect in effects
        for below in (0.0, 0.005, 0.03, 0.2, 3.0)
        for above in (0.0, 0.005, 0.03, 0.2, 3.0)
        for floor in (0.0, 0.005, 0.02, 0.15)
    ]
    seen = set()
    for case in cases:
        (found,) = connection.execute("select verdict(?, ?, ?, ?)", list(case)).fetchone() or (None,)
        assert found == statistics.verdict(*case), case
        seen.add(found)
    assert seen == {"faster", "slower", "can't tell"}


@pytest.mark.parametrize("bounds", ["null, null", "0.0, 0.0", "0.0, null", "null, 2.0"])
def test_a_verdict_without_an_interval_is_none(connection: DuckDBPyConnection, bounds: str) -> None:
    for speedup in ("2.0", "1.0", "null", "0.0"):
        sql = f"select verdict({speedup}, {bounds}, null)"
        assert connection.execute(sql).fetchone() == ("can't tell",)


def _pairs() -> list[tuple[int, int, int]]:
    few = [(lost, won, 60) for lost in range(0, 31, 3) for won in range(0, 31, 2)]
    return [*few, (26, 24, 400), (25, 26, 400), (0, 51, 51), (80, 20, 640), (5200, 4800, 10_000), (700, 900, 50_000)]


def test_the_paired_tests_are_those_of_python(connection: DuckDBPyConnection) -> None:
    for case in _pairs():
        lost, won, n = case
        sql = (
            f"select mcnemar_p({lost}, {won}), drop_low({lost}, {won}, {n}), drop_high({lost}, {won}, {n}), "
            f"drop_verdict({lost}, {won}, {n})"
        )
        p, low, high, verdict = connection.execute(sql).fetchone() or ()
        wanted = statistics.drop_interval(lost, won, n)
        assert p == pytest.approx(statistics.mcnemar_p(lost, won), rel=1e-5, abs=2e-7), case
        assert (low, high) == pytest.approx((wanted.low, wanted.high), rel=1e-9, abs=1e-12), case
        assert verdict == statistics.drop_verdict(lost, won, n), case


def test_the_interval_of_the_drop_covers_the_truth_as_often_as_it_says() -> None:
    rng, covered, rounds, n = random.Random(1), 0, 2000, 400
    for _ in range(rounds):
        lost = sum(rng.random() < 0.06 for _ in range(n))
        won = sum(rng.random() < 0.03 for _ in range(n))
        found = statistics.drop_interval(lost, won, n)
        covered += found.low <= 0.03 <= found.high
    assert 0.93 <= covered / rounds <= 0.98


@pytest.mark.parametrize("seeds", [2, 10, 11, 12, 40])
def test_page_and_views_give_one_interval_whatever_the_seeds(fill, results, seeds: int) -> None:
    rng = random.Random(seeds)
    rows = [samples.result(samples.trial(None, seed)) for seed in range(seeds)]
    for seed in range(seeds):
        made = samples.result(samples.trial(4, seed))
        timed = replace(made.measurement.latency[0], speedup=math.exp(rng.gauss(0.03, 0.04)))
        rows.append(replace(made, measurement=replace(made.measurement, latency=(timed,))))
    fill(*rows)
    (mean,) = results.query("select * from trial_means where method = 'low_rank'").rows(named=True)
    (shown,) = headline(results, Scope()).filter(method="low_rank").rows(named=True)
    assert mean["seed_count"] == shown["seed_count"] == seeds
    for name in ("speedup", "speedup_low", "speedup_high"):
        assert mean[name] == pytest.approx(shown[name], rel=1e-12)
    logs = [math.log(v) for v in results.query("select speedup from speedups where method = 'low_rank'")["speedup"]]
    interval = statistics.t_interval(logs)
    assert (shown["speedup_low"], shown["speedup_high"]) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high)), rel=1e-6
    )
    floor = results.query("select max(coalesce(floor, 0)) from speedups where method = 'low_rank'").item()
    assert shown["verdict"] == statistics.verdict(shown["speedup"], shown["speedup_low"], shown["speedup_high"], floor)


@pytest.mark.parametrize("view", [name for name in view_statements() if name != "sides"])
def test_no_view_makes_the_product_of_all_names(connection: DuckDBPyConnection, view: str) -> None:
    plan = connection.execute(f"explain select * from {view}").fetchall()[0][1]
    assert "CROSS_PRODUCT" not in plan
