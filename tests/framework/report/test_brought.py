"""Charts that plugins bring: drawn like the bundled ones; a bad one costs its own place and nothing else."""

import html
import json
from dataclasses import dataclass
from textwrap import dedent

import prunebench_metrics
import pytest
from prunebench import Chart, open_results
from prunebench.cli import _status
from prunebench.report import Scope
from prunebench.report.build import Extras, build
from prunebench.report.charts import NAMES, load
from prunebench.report.plugin_charts import find_chart
from prunebench.testing import check_chart
from prunebench.testing.sample import sample_database

SQL = """with scope as (select trial_id from trials)
select dataset_label || ' · ' || model_label as panel, method, method_label as setting, is_control as control,
    parameter_count, top1_accuracy
from trials where trial_id in (from scope) and status = 'ok'
"""
PLUGIN = dedent('''
    from dataclasses import dataclass
    import altair as alt
    from prunebench import Chart, hookimpl

    @dataclass(frozen=True)
    class Mine(Chart):
        """Accuracy over the number of parameters that are stored, one mark a trial; tried by the tests."""
        name = "mine"
        title = "Mine <script>window.hacked=1</script>"

        def draw(self, rows, look):
            x, y = look.axis("number", "Parameters"), look.axis("share", "Accuracy")
            return alt.Chart(rows).mark_point().encode(
                x=alt.X("parameter_count", **x), y=alt.Y("top1_accuracy", **y), color=look.colour(), shape=look.shape())

    class Clashes(Mine):
        """Wants a bundled chart's name, which is taken by prunebench itself."""
        name = "curves"

    class Raises(Mine):
        """Raises while it is drawn, as an unfinished chart of a stranger would."""
        name = "raises"
        sql = "%s"
        def draw(self, rows, look):
            raise KeyError("what")

    class BadSql(Raises):
        """Asks for a column that is not there, as a chart for another version would."""
        name = "bad_sql"
        sql = "with scope as (select trial_id from trials) select nothing_of_the_kind from scope"

    class NoSql(Mine):
        """Its query was not packed with it, as happens to packages without their data files."""
        name = "no_sql"

    @hookimpl
    def charts():
        return [Mine, Clashes, Raises, BadSql, NoSql]
''')


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """Two methods and dense."""
    return sample_database(tmp_path_factory.mktemp("sample"))


@pytest.fixture()
def plugin(tmp_path):
    """A stranger's file with one good chart and four bad ones; the query stands beside it."""
    file = tmp_path / "my_charts.py"
    file.write_text(PLUGIN.replace("%s", SQL.replace("\n", " ")), encoding="utf-8")
    (tmp_path / "mine.sql").write_text(SQL, encoding="utf-8")
    return file


@pytest.mark.parametrize("cls", prunebench_metrics.charts(), ids=lambda cls: cls.name)
def test_the_kit_finds_nothing_in_ours(cls):
    assert check_chart(cls) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_kit_finds_nothing_in_a_bundled_chart(name):
    assert check_chart(type(load(name))) == []


def test_a_page_has_the_good_chart_and_a_line_for_each_bad_one(db, plugin, tmp_path):
    page = tmp_path / "page.html"
    assert _status(["report", "--plugin", str(plugin), "--db", str(db), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert 'id="chart-mine"' in text and 'id="chart-accuracy_compression"' in text
    assert "<script>window.hacked" not in text and "From " + str(plugin) in text
    said = html.unescape(text)
    for line in (
        "chart raises could not be drawn: KeyError: 'what'",
        "chart bad_sql could not be drawn: Binder Error",
        "chart no_sql could not be drawn: chart no_sql has no query",
        "chart curves of ",
    ):
        assert said.count(line) == 1, line
    data = json.loads(text.split('id="page-data">')[1].split("</script>")[0])
    assert [chart["name"] for chart in data["charts"]][-2:] == ["metrics_compression", "mine"]
    assert "where run_id = 'sample-1'" in data["charts"][-1]["sql"] and data["charts"][-1]["frame"]["length"] == 14


def test_a_plugin_query_that_returns_too_much_is_thinned_openly(db, plugin, tmp_path):
    crowded = SQL.replace("where trial_id in", "cross join range(1000) where trial_id in")
    (tmp_path / "mine.sql").write_text(crowded, encoding="utf-8")
    plugin.write_text(plugin.read_text(encoding="utf-8") + "# with a query of its own\n", encoding="utf-8")
    page = tmp_path / "page.html"
    assert _status(["report", "--plugin", str(plugin), "--db", str(db), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.split('id="page-data">')[1].split("</script>")[0])
    assert data["charts"][-1]["name"] == "mine" and data["charts"][-1]["frame"]["length"] == 4667
    assert "Every 3rd of 14,000 rows, to stay light." in text


def test_a_figure_that_raises_costs_a_line_and_its_neighbour_is_drawn(db, tmp_path, monkeypatch):
    from prunebench_papers.founding import Rohlicek2020

    def fails(self, rows, look):
        raise RuntimeError("on the drawing board")

    good = dataclass(frozen=True)(type("Good", (wrong(),), {"name": "good"}))
    bad = dataclass(frozen=True)(type("Bad", (good,), {"name": "bad", "draw": fails}))
    monkeypatch.setattr(Rohlicek2020, "figures", lambda self: [bad, good])
    text = page_about(Rohlicek2020(), db)
    assert text.count("chart bad could not be drawn: RuntimeError: on the drawing board") == 1
    assert 'id="chart-good"' in text and 'id="chart-bad"' not in text


def page_about(paper, db):
    """The page of the sample run with a paper's part."""
    with open_results(db) as results:
        return build(results, Scope("sample-1"), Extras(db, paper=paper))


def test_a_chart_of_a_plugin_is_left_out_where_the_plugin_is_disabled(db, tmp_path):
    page = tmp_path / "page.html"
    assert _status(["report", "--disable-plugin", "prunebench_metrics", "--db", str(db), "-o", str(page)]) == 0
    assert "chart-metrics_compression" not in page.read_text(encoding="utf-8")


def test_it_is_drawn_alone_listed_and_judged(db, plugin, tmp_path, capsys):
    given = ["--plugin", str(plugin)]
    assert _status(["chart", "mine", *given, "--db", str(db), "-o", str(tmp_path / "mine.svg")]) == 0
    assert "<svg" in (tmp_path / "mine.svg").read_text(encoding="utf-8")
    assert _status(["chart", "raises", *given, "--db", str(db), "-o", str(tmp_path / "no.svg")]) == 2
    assert "chart raises could not be drawn: KeyError" in capsys.readouterr().err
    assert _status(["chart", "--list", *given, "--json"]) == 0
    listed = {row["name"]: row["from"] for row in json.loads(capsys.readouterr().out)}
    assert listed["pareto" if "pareto" in listed else "curves"] == "prunebench" and str(plugin) in listed["mine"]
    assert _status(["plugins", *given, "--json"]) == 0
    kinds = {(one["kind"], one["name"]) for one in json.loads(capsys.readouterr().out)["installed"]}
    assert {("chart", "mine"), ("chart", "metrics_compression")} <= kinds
    assert _status(["check", "mine", *given]) == 0
    for name, check in (("raises", "draw"), ("bad_sql", "query"), ("no_sql", "query")):
        assert _status(["check", name, *given]) == 1
        assert f"{name}: {check}: " in capsys.readouterr().out


def test_a_notebook_draws_it_by_name_or_by_class(db):
    with open_results(db) as results:
        by_name = results.chart("metrics_compression").to_dict(validate=True)
        by_class = results.chart(prunebench_metrics.MetricsCompression).to_dict()
        assert by_name["title"] == by_class["title"] and "metrics_compression" in results.charts()
    assert find_chart("metrics_compression").about.startswith("Numbers of metric plugins")


def wrong(**attributes):
    """A chart that is right but for `attributes`."""
    import altair as alt

    def draw(self, rows, look):
        return alt.Chart(rows).mark_point().encode(x="parameter_count:Q", y="top1_accuracy:Q")

    doc = "Accuracy over parameters, a mark a trial, made to be wrong in one way."
    usual = {"__doc__": doc, "name": "wrong", "title": "Wrong", "sql": SQL, "draw": draw}
    return dataclass(frozen=True)(type("Wrong", (Chart,), {**usual, **attributes}))


@pytest.mark.parametrize(
    ("check", "attributes"),
    [
        ("title", {"title": ""}),
        ("documentation", {"__doc__": "Short."}),
        ("name", {"name": "latency"}),
        ("columns", {"columns": {"method": ("method", "colour")}}),
        ("columns", {"columns": {"energy": ("energy", "number")}}),
        ("query", {"sql": "select 1 as panel"}),
        ("query", {"sql": "with scope as (select trial_id from trials) select 1 as a"}),
        ("draw", {"draw": lambda self, rows, look: rows}),
        ("draw", {"draw": lambda self, rows, look: len(rows)}),
    ],
)
def test_the_kit_catches_a_wrong_chart(check, attributes):
    assert check_chart(wrong()) == []
    findings = check_chart(wrong(**attributes))
    assert check in {finding.check for finding in findings}, findings
