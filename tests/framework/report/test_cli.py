"""The verbs: report, chart, watch."""

import io
import json
from pathlib import Path

import polars as pl
import pytest
from prunebench.cli import _status
from prunebench.cli.summary import headline_table, summary_cells, summary_table
from prunebench.report import headline
from prunebench.report.charts import NAMES
from prunebench.store import Store, open_results
from rich.console import Console

from tests.framework.report import synthetic
from tests.framework.report.conftest import store_results


@pytest.fixture()
def bench(capfd):
    """Calls the command; the exit code, standard output and standard error."""

    def call(*args):
        status = _status([str(arg) for arg in args])
        return status, *capfd.readouterr()

    return call


def test_report_takes_the_latest_run_and_says_where_the_page_is(bench, usual):
    status, out, _ = bench("report", "--db", usual)
    assert (status, out.strip()) == (0, str(usual.parent / "synthetic-1" / "report.html"))


def test_report_of_a_query_needs_trial_ids(bench, usual, tmp_path):
    page = tmp_path / "q.html"
    status, _, _ = bench("report", "--query", "select * from trials where method = 'pca'", "-o", page, "--db", usual)
    assert status == 0 and "Results of a query" in page.read_text()
    status, _, told = bench("report", "--query", "select 1 as a", "--db", usual)
    assert status == 2 and "--query must return a column trial_id" in told


@pytest.mark.parametrize(
    "sql", ["select trial_id from trials; drop table run", "copy (select 1) to 'x'", "delete from run"]
)
def test_a_query_that_is_more_than_a_select_is_refused(bench, usual, sql):
    before = usual.read_bytes()
    assert bench("report", "--query", sql, "--db", usual)[0] == 2
    assert usual.read_bytes() == before


def test_an_unknown_run_is_told_with_a_guess(bench, usual):
    status, _, told = bench("report", "sinthetic", "--db", usual)
    assert status == 2 and "did you mean 'synthetic'" in told


def test_no_database_is_one_line(bench, tmp_path):
    status, _, told = bench("report", "--db", tmp_path / "none.duckdb")
    assert status == 2 and told.count("\n") == 1


def test_two_subjects_are_one_too_many(bench, usual):
    assert bench("report", "synthetic", "--all", "--db", usual)[0] == 2


def test_watching_a_run_that_is_over_writes_the_page_once(bench, tmp_path):
    path = store_results(tmp_path, synthetic.grid_results(["digits"], ["lenet5"], ["pca"], [4], 1, (1,)))
    status, out, _ = bench("report", "--watch", "--db", path)
    assert status == 0 and "of 2 trials" not in out
    assert 'http-equiv="refresh"' not in (tmp_path / "synthetic-1" / "report.html").read_text()


def test_charts_are_listed_for_people_and_programs(bench):
    assert "Accuracy against compression" in bench("chart", "--list")[1]
    assert len(json.loads(bench("chart", "--list", "--json")[1])) >= 12


def test_a_chart_shows_its_query_and_draws_another(bench, usual, tmp_path):
    assert "with scope as" in bench("chart", "pareto", "--show-sql")[1]
    sql = "select method, compression_ratio as x, top1_accuracy as accuracy from trials where status = 'ok'"
    status, out, _ = bench("chart", "pareto", "--sql", sql, "-o", tmp_path / "x.json", "--db", usual)
    assert status == 0 and out.strip().endswith("x.json")


def test_points_draws_any_query(bench, usual, tmp_path):
    sql = 'select stored_bytes as "a.b", top1_accuracy as "c[0]", method from trials'
    assert bench("chart", "points", "--sql", sql, "-o", tmp_path / "x.svg", "--db", usual)[0] == 0
    assert "<svg" in (tmp_path / "x.svg").read_text()
    assert bench("chart", "points", "--db", usual)[0] == 2


def test_watch_tells_how_far_a_run_is(bench, usual):
    status, out, _ = bench("watch", "--once", "--db", usual)
    assert status == 0 and "/105 trials" in out and "declined" in out and "left" in out


def test_watch_ends_with_the_run(bench, tmp_path):
    path = store_results(tmp_path, synthetic.grid_results(["digits"], ["lenet5"], ["pca"], [4], 1, (1,)))
    status, out, _ = bench("watch", "--every", "0.5", "--db", path)
    assert status == 0 and "2/2 trials" in out and "left" not in out


@pytest.mark.parametrize(("seeds", "std", "cell"), [(1, None, "91.0 (1 seed)"), (3, 0.004, "91.0 ± 0.4")])
def test_an_accuracy_of_a_single_seed_says_so(seeds, std, cell):
    names = ("compression_ratio", "theoretical_speedup", "speedup", "speedup_low", "speedup_high", "batch", "verdict")
    row = {"setting": "pca", "seed_count": seeds, "accuracy": 0.91, "accuracy_std": std, **dict.fromkeys(names)}
    assert summary_cells(row)["score"] == cell


def test_the_closing_table_has_every_setting_with_its_verdict(usual):
    console = Console(file=io.StringIO(), width=200)
    with open_results(usual) as results:
        summary_table(results, "synthetic-1", console)
        frame = headline(results, "synthetic-1")
    text = console.file.getvalue()
    assert "low_rank" in text and "faster" in text and "can't tell" in text and "±" in text
    assert f"{frame.height - 60} more rows" in text
    assert headline_table(frame.head(2)).row_count == 3  # a heading and two rows


def test_a_setting_of_two_lines_is_indented_on_both(usual):
    with open_results(usual) as results:
        frame = headline(results, "synthetic-1").head(2)
    settings = [f"magnitude({', '.join(f'field_{n}={value}' for n in range(6))})" for value in (1, 2)]
    frame = frame.with_columns(method=pl.lit("magnitude"), setting=pl.Series(settings))
    console = Console(file=io.StringIO(), width=110)
    console.print(headline_table(frame))
    lines = [line for line in console.file.getvalue().splitlines() if "field" in line]
    assert len(lines) > 2 and all(line.startswith("  ") and line[2] != " " for line in lines)


def test_watching_follows_a_run_to_its_end(bench, tmp_path, monkeypatch):
    first, last = synthetic.grid_results(["digits"], ["lenet5"], ["pca"], [4], 1, (1,))
    record = synthetic.run_record(trial_count=2)
    journal = Store(tmp_path / "results.duckdb").open_run(record)
    journal.append(first)
    page, seen = tmp_path / "synthetic-1" / "report.html", []

    def sleep(_):
        seen.append('http-equiv="refresh"' in page.read_text())
        journal.append(last)

    monkeypatch.setattr("prunebench.cli.report.sleep", sleep)
    status, out, _ = bench("report", "--watch", "--db", tmp_path / "results.duckdb")
    assert status == 0 and "1 of 2 trials" in out and seen == [True]
    assert 'http-equiv="refresh"' not in page.read_text()
    journal.close()


def test_the_documentation_names_every_chart():
    text = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}`" not in text] == []
