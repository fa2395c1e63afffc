"""One chart alone: pictures, pages, JSON, and queries of one's own."""

import json
import re
import socket
import threading
from dataclasses import replace

import polars as pl
import pytest
from prunebench.errors import PruneBenchError, QueryError
from prunebench.report import Scope
from prunebench.report.charts import NAMES, load
from prunebench.report.export import Sizes, chart_rows, picture, ready, specification, write
from prunebench.report.generic import points
from prunebench.report.render import showable
from prunebench.report.results import open_results

from tests.framework.report import synthetic
from tests.framework.report.conftest import store_results
from tests.framework.report.test_page import data_of, hostile_results

CHART = load("accuracy_compression")
MAGIC = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def rows(usual):
    with open_results(usual) as results:
        return chart_rows(CHART, results, Scope("synthetic-1"))


@pytest.mark.parametrize("form", MAGIC)
def test_a_chart_becomes_a_picture(tmp_path, rows, form):
    path = write(tmp_path / f"x.{form}", CHART, rows.head(5), CHART.sql, Sizes(width=120))
    assert path.read_bytes().startswith(MAGIC[form])


def test_json_is_a_specification_with_its_data_and_html_a_page(tmp_path, rows):
    spec = json.loads(write(tmp_path / "x.json", CHART, rows, CHART.sql).read_bytes())
    assert spec["$schema"].endswith("v6.4.1.json") or "vega-lite" in spec["$schema"]
    assert sum(len(found) for found in spec["datasets"].values()) >= rows.height
    page = write(tmp_path / "x.html", CHART, rows, CHART.sql).read_text()
    assert [chart["name"] for chart in data_of(page)["charts"]] == ["accuracy_compression"]


def test_control_characters_do_not_take_the_renderer_down(tmp_path):
    with open_results(store_results(tmp_path, hostile_results())) as results:
        rows = chart_rows(CHART, results, Scope())
    assert picture(specification(CHART, rows), "svg").startswith(b"<svg")
    spec = {"mark": "point", "title": "a\x00\x07\x1b\uffff", "data": {"values": [{"a": "\x08"}]},
            "encoding": {"x": {"field": "a", "type": "nominal", "title": "\x01"}}}  # fmt: skip
    assert b"\\x00\\x07\\x1b\\uffff" in picture(spec, "svg")


def test_nothing_is_fetched_for_a_picture():
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def listen():
            try:
                calls.append(server.accept())
            except OSError:
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/data.json"
        spec = {"mark": "point", "data": {"url": url}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}
        try:
            picture(spec, "svg")
        except PruneBenchError as error:
            assert "could not be drawn" in str(error)
        server.close()
    thread.join(timeout=5)
    assert calls == []


@pytest.mark.parametrize("name", NAMES)
def test_no_chart_has_links_or_addresses(usual, name):
    with open_results(usual) as results:
        text = json.dumps(specification(load(name), chart_rows(load(name), results, Scope()).head(3)))
    assert '"href"' not in text and '"url"' not in text


def test_an_ending_that_is_no_form_is_refused_with_the_forms(tmp_path, rows):
    with pytest.raises(PruneBenchError, match=r"no such form '.bmp'; end the name in .svg, .png"):
        write(tmp_path / "x.bmp", CHART, rows, CHART.sql)


def test_a_query_that_lacks_a_needed_column_is_told_which():
    with pytest.raises(QueryError, match="chart accuracy_compression needs method, setting, accuracy, x as well"):
        ready(CHART, pl.DataFrame({"a": [1]}))


def test_a_query_with_the_needed_columns_alone_is_drawn():
    frame = ready(CHART, pl.DataFrame({"method": ["a", "b"], "x": [2.0, 4.0], "accuracy": [0.9, 0.8]}))
    assert specification(CHART, frame)["datasets"]


NAMED = ("a.b", "a[0]", 'a"b', "constructor")


def test_columns_of_any_name_are_drawn_under_safe_ones():
    for name in NAMED:
        spec = points(pl.DataFrame({name: [1.0, 2.0], "y:Q": [3.0, float("nan")], "": ["u", "v"]})).to_dict()
        assert {channel["field"] for name, channel in spec["encoding"].items() if name in ("x", "y", "color")} == {
            "c0", "c1", "c2"
        }  # fmt: skip
        (data,) = spec["datasets"].values()
        assert data[1]["c1"] is None
    assert picture(spec, "svg").startswith(b"<svg")


def test_a_hundred_thousand_rows_are_thinned_and_say_so():
    spec = points(pl.DataFrame({"x": range(100_000), "y": range(100_000)})).to_dict()
    (data,) = spec["datasets"].values()
    assert len(data) == 5000 and "Every 20th of 100,000 rows" in spec["title"]["subtitle"][0]


def test_no_rows_and_too_few_columns_are_told():
    assert "no rows" in points(pl.DataFrame({"x": [], "y": []})).to_dict()["title"]["subtitle"][0]
    with pytest.raises(QueryError, match="needs two columns"):
        points(pl.DataFrame({"x": [1]}))


def test_notebooks_get_charts_by_name(usual):
    with open_results(usual) as results:
        drawn = results.chart("pareto", run="synthetic-1").to_dict(validate=False)
        assert drawn["title"]["text"] == "Accuracy against compression"
        assert set(results.charts()) >= {*NAMES, "metrics_compression"}
        own = results.chart("points", sql="select stored_bytes, top1_accuracy from trials")
        assert own.to_dict()["encoding"]["x"]["title"] == "stored_bytes"


def test_an_empty_chart_says_what_is_missing(usual):
    with open_results(usual) as results:
        spec = results.chart("latency", query="select trial_id from trials where false").to_dict(validate=False)
    assert spec["mark"]["text"] == "No trial here was timed."


def test_showable_reaches_every_depth():
    assert showable({"a\x00": [{"b": "\x1b"}]}) == {"a\\x00": [{"b": "\\x1b"}]}


def test_a_picture_says_under_its_title_that_settings_have_one_seed(tmp_path, usual):
    one = store_results(tmp_path, synthetic.grid_results(["digits"], ["lenet5"], ["pca"], (4,), seeds=1, batches=(1,)))
    for name in ("pareto", "latency", "layer_kept", "prune_time", "curves"):
        with open_results(one) as results:
            assert "one seed" in results.chart(name).to_dict()["title"]["subtitle"], name
        with open_results(usual) as results:
            assert "subtitle" not in results.chart(name).to_dict()["title"], name


def test_epochs_are_labelled_with_whole_numbers_alone(tmp_path):
    """Vega puts a tick between two epochs, whatever the least step, and would call it 2."""
    results = synthetic.grid_results(["digits"], ["lenet5"], ["pca"], (4,), seeds=1, batches=(1,))
    with open_results(store_results(tmp_path, map(with_two_epochs, results))) as opened:
        text = picture(opened.chart("curves").to_dict(), "svg").decode()
    axes = re.findall(r"X-axis titled \'Epoch\'.*?role-axis-title", text, re.DOTALL)
    assert axes and all(re.findall(r">([\d.]+)</text>", axis) == ["1", "2"] for axis in axes)


def with_two_epochs(result):
    """As measured, with the last two points of its curve as epochs 1 and 2."""
    points = tuple(replace(point, epoch=at) for at, point in enumerate(result.measurement.curve[-2:], 1))
    return replace(result, measurement=replace(result.measurement, curve=points))
