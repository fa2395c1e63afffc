"""What metric plugins measured stands in the page, a table a plugin."""

import re
from dataclasses import replace

from prunebench.records import Metric
from prunebench.report import Scope

from tests.framework.report import synthetic
from tests.framework.report.conftest import page_of, store_results


def with_metrics(result, *found):
    measured = result.measurement
    return replace(result, measurement=replace(measured, metrics=found)) if measured else result


def metrics_part(page):
    found = re.search(r'<section id="metrics".*?</section>', page, re.DOTALL)
    return found.group() if found else ""


def test_each_metric_has_a_table_with_units_and_means_over_seeds(tmp_path):
    results = [
        with_metrics(result, Metric("drift.mean", 0.25 + result.trial.seed, "nats"), Metric("size.ram", 2e6, "bytes"))
        for result in synthetic.grid_results(["digits"], ["lenet5"], ["magnitude"], (2,), seeds=2, dense=False)
    ]
    part = metrics_part(page_of(store_results(tmp_path, results), Scope("synthetic-1")))
    assert "<h3>drift</h3>" in part and "<h3>size</h3>" in part
    assert "mean (nats)" in part and "ram (bytes)" in part
    assert "0.75 <small" in part and "± 0.7071" in part, "the mean of 0.25 and 1.25 and its deviation"
    assert "2,000,000" in part and part.count(">magnitude<") == 2


def test_a_number_that_only_some_settings_have_is_a_dash_elsewhere(tmp_path):
    some, other = synthetic.grid_results(["digits"], ["lenet5"], ["magnitude"], (2, 4), seeds=1, dense=False)
    both = (Metric("drift.mean", 1.5, "nats"), Metric("drift.worst", 3.5, "nats"))
    part = metrics_part(page_of(store_results(tmp_path, [with_metrics(some, *both), with_metrics(other, both[0])])))
    assert part.count(">–</td>") == 1 and "±" not in part.split("</p>", 1)[1]
    assert '1.5 <small class="wide">(1 seed)</small>' in part


def test_a_hostile_unit_is_text_and_without_metrics_there_is_no_section(tmp_path, usual_page):
    (one,) = synthetic.grid_results(["digits"], ["lenet5"], ["magnitude"], (2,), seeds=1, dense=False)
    part = metrics_part(page_of(store_results(tmp_path, [with_metrics(one, Metric("a.b", 1.0, "<img src=x>"))])))
    assert "&lt;img" in part and "<img" not in part
    assert metrics_part(usual_page) == ""
