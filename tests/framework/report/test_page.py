"""The page: complete in itself, safe whatever the names are, and honest about what is not there."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest
from prunebench.cli.summary import summary_cells
from prunebench.errors import PruneBenchError
from prunebench.publishing.site import _furthest
from prunebench.records import Choice, LatencyProtocol, ObjectiveFacts
from prunebench.report import Scope, headline, sections, write_report
from prunebench.report.charts import load
from prunebench.report.headlines import by_setting
from prunebench.report.page import own_script
from prunebench.report.vega import bundle
from prunebench.store import Store, open_results

from tests.framework.report import synthetic
from tests.framework.report.conftest import page_of, store_results

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=hacked=1>\"'&\u2028\x1b[31m{{7*7}}"


class Tags(HTMLParser):
    """Collects start tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def data_of(page):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', page, re.DOTALL).group(1))


def seen(page):
    """The page's own text, scripts apart."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_the_title_of_a_grid_is_that_of_the_page_with_bytes_beside(tmp_path):
    results = synthetic.grid_results(["digits"], ["lenet5"], compressions=(2, 8), seeds=1)
    page = page_of(store_results(tmp_path, results, grid='title = "Told <b>"\n' + synthetic.GRID), Scope("synthetic-1"))
    assert "<h1>Told &lt;b&gt;</h1>" in page
    assert "times fewer parameters" in page and "times smaller on disk" in page


def test_a_fast_network_near_its_floor_is_named_where_it_is_called_faster(tmp_path):
    """Of what dense has above chance, 17.8 % keeps a twelfth, 35 % more than a fifth."""
    scores = {"dense": 0.98, "low_rank": 0.178, "pca": 0.35}
    facts = ObjectiveFacts("classification", "top1_accuracy", "top-1 accuracy", "fraction", floors={"majority": 0.108})
    results = []
    for one in grid(methods=["low_rank", "pca"], compressions=[32], batches=(64,)):
        score = scores[one.trial.method.use]
        measured = replace(one.measurement, top1_accuracy=score, top5_accuracy=None, objective=facts, score=score,
                           scores={"top1_accuracy": score})  # fmt: skip
        results.append(replace(one, measurement=measured))
    path = store_results(tmp_path, results)
    page = page_of(path, Scope("synthetic-1"))
    columns = {column["name"]: column for column in data_of(page)["headline"]["columns"]}
    assert columns["is_near_floor"]["values"] == [False, True, False] and not any(columns["is_at_floor"]["values"])
    assert "Faster, but hardly better than without a network" in page and "low_rank on digits · lenet5 (18%)" in page
    with open_results(path) as opened:
        rows = {row["method"]: row for row in headline(opened, "synthetic-1").to_dicts()}
        assert summary_cells(rows["low_rank"])["verdict"] == "faster, near its floor"
        assert summary_cells(rows["pca"])["verdict"] == "faster"
        front = list(_furthest(*by_setting(headline(opened, "synthetic-1"))))
    assert [row.get("verdict") for row in front] == [None, None], "neither is as good as dense"


def test_settings_of_equal_size_stand_in_the_order_of_their_numbers(tmp_path):
    bits = [synthetic.result("digits", "lenet5", Choice("rtn", {"bits": count}), 1, 0, ()) for count in (16, 2, 32, 8)]
    with open_results(store_results(tmp_path, grid(methods=[]) + bits)) as opened:
        rows = headline(opened, "synthetic-1")
        heat = opened.query(load("layer_kept").sql)
    wanted = [f"rtn(bits={count})" for count in (2, 8, 16, 32)]
    assert rows.filter(pl.col("method") == "rtn")["setting"].to_list() == wanted
    assert heat.sort("place")["setting"].unique(maintain_order=True).to_list() == wanted


def test_the_page_loads_nothing_from_anywhere(usual_page):
    tags = Tags(usual_page)
    assert not {"link", "img", "iframe", "object", "base"} & set(tags.tags)
    assert all(value.startswith("#") for name, value in tags.attributes if name in ("src", "href"))
    assert "default-src 'none'" in usual_page and "unsafe-eval" not in usual_page


def test_the_security_policy_names_exactly_the_two_scripts(usual_page):
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]{44}'", usual_page)) == 2
    assert usual_page.count("<script") == 3 and usual_page.count("</script>") == 3
    assert "</script" not in bundle() and "</script" not in own_script()


def test_every_section_is_there_with_the_grid_and_the_reasons(usual_page):
    for heading in ("What came out", "Charts", "Every setting", "Failed and declined", "What was asked"):
        assert f">{heading}</h2>" in usual_page
    text = seen(usual_page)
    assert "break-even is 47" in text and "svd did not converge" in text and "[[block]]" in text
    assert "Without a result so far: 3 planned trials" in text
    assert "Example CPU @ 2.6 GHz" in text and "torch 2.15.0" in text


def test_each_chart_carries_its_query_and_its_data(usual_page):
    for chart in data_of(usual_page)["charts"]:
        assert "where run_id = 'synthetic-1'" in chart["sql"]
        assert chart["frame"]["length"] > 0 and chart["about"] and chart["spec"]
        assert all(len(column.get("values", column.get("codes"))) == chart["frame"]["length"]
                   for column in chart["frame"]["columns"])  # fmt: skip


def test_the_numbers_of_the_page_are_those_of_the_results(usual_page):
    headline = data_of(usual_page)["headline"]
    columns = {column["name"]: column for column in headline["columns"]}
    labels = [columns["setting"]["words"][code] for code in columns["setting"]["codes"]]
    row = labels.index("magnitude(keep=0.125, section=all)")
    accuracies = [r.measurement.top1_accuracy for r in (
        synthetic.result("digits", "lenet5", synthetic.method_choice("magnitude", 8), 8, seed) for seed in range(3)
    )]  # fmt: skip
    assert columns["accuracy"]["values"][row] == pytest.approx(math.fsum(accuracies) / 3, rel=1e-5)
    assert columns["seed_count"]["values"][row] == 3


def test_how_far_a_method_goes_says_a_number_once():
    known = {"panel": "digits · lenet5", "method": "pca", "seed_count": 3}
    near = {**known, "accuracy_drop": 0.0, "compression_ratio": 2.0, "theoretical_speedup": 3.0}
    far = {**known, "accuracy_drop": 0.04, "compression_ratio": 4.0, "theoretical_speedup": 1.5}
    page = sections.glance(pl.DataFrame([near, far]), [])
    assert '2.00× <small class="wide">4.00×</small>' in page
    assert '3.00× <small class="wide"></small>' in page


def test_how_far_a_method_goes_marks_what_rests_on_one_seed():
    near = {"panel": "p", "method": "pca", "accuracy_drop": 0.0, "compression_ratio": 2.0, "theoretical_speedup": 3.0}
    near["seed_count"] = 1
    far = {**near, "accuracy_drop": 0.04, "compression_ratio": 4.0, "seed_count": 3}
    assert '2.00× (1 seed) <small class="wide">4.00×</small>' in sections.glance(pl.DataFrame([near, far]), [])
    page = sections.glance(pl.DataFrame([near, {**far, "seed_count": 1}]), [])
    assert "pca <small>(1 seed)</small>" in page and page.count("(1 seed)") == 1, "said once, beside the method"


def test_how_far_each_of_many_methods_goes_leaves_none_out():
    def row(number, drop):
        facts = {"compression_ratio": 2.0, "theoretical_speedup": 2.0, "seed_count": 3, "accuracy_drop": drop}
        return {"panel": f"panel {number // 50}", "method": f"method {number}", **facts}

    rows = [row(number, 0.0 if number % 3 == 0 else 0.5) for number in range(100)]
    page = sections.glance(pl.DataFrame(rows), [])
    assert all(f'<td class=""><span class="over">panel {n // 50}</span>method {n}</td>' in page for n in (0, 1, 50, 51))
    assert all(f"method {number}</td>" in page for number in range(100))
    seen, folded = page.split("<details>")
    assert "66 rows nowhere near dense" in folded and "method 99</td>" in seen and "method 98</td>" in folded
    few = sections.glance(pl.DataFrame(rows[: sections.FEW]), [])
    assert "<details>" not in few and "method 29</td>" in few


def test_the_page_of_a_run_is_headed_by_that_run(tmp_path):
    kept = grid(compressions=[2, 4], seeds=1)
    ids = tuple(result.trial.id for result in kept)
    facts = {"trial_ids": ids, "started_at": "2026-01-05T10:00:00+00:00"}
    path = store_results(tmp_path, kept, "mine", missing=2, **facts)
    later = {"started_at": "2026-01-06T10:00:00+00:00", "id": "other-1"}
    Store(path).open_run(synthetic.run_record("other", 1, trial_ids=ids[:1], **later)).close()
    Store(path).open_run(synthetic.run_record("mine", len(ids), **{**later, "trial_ids": ids, "id": "mine-2"})).close()
    page = page_of(path, Scope("mine-1"))
    assert "<h1>mine</h1>" in page and "mine-1 · 5 January 2026" in page and "so far: 2 planned trials" in page
    assert [page.count(f"<h3>{name}</h3>") for name in ("mine", "other")] == [2, 1]
    assert page.index("<dd>mine-1</dd>") < page.index("<dd>mine-2</dd>") < page.index("<dd>other-1</dd>")


def test_a_page_says_what_it_leaves_out(tmp_path):
    trials = [result.trial for result in grid(compressions=range(2, 72), seeds=3)][:205]
    path = store_results(tmp_path, [synthetic.ended(t, "failed", f"reason {n}") for n, t in enumerate(trials)])
    assert "5 more are in the database: bench query &quot;from failures&quot;." in page_of(path)
    with open_results(path) as results:
        assert results.query("select * from failures").height == 205


def grid(**axes):
    usual = {"datasets": ["digits"], "models": ["lenet5"], "methods": ["pca"], "compressions": [4], "seeds": 1}
    return list(synthetic.grid_results(**{**usual, "batches": (1,), **axes}))


def untrained():
    """A network that gets one sample in ten right, dense and pruned."""
    return [replace(r, measurement=replace(r.measurement, top1_accuracy=0.1)) for r in grid(seeds=3)]


def nan_latency():
    first, *rest = grid()
    dull = replace(rest[0].measurement.latency[0], speedup=math.nan, speedup_low=math.nan, speedup_high=math.nan,
                   latency_ms=math.nan, pruned_ms=(math.nan,) * 20)  # fmt: skip
    return [first, replace(rest[0], measurement=replace(rest[0].measurement, latency=(dull,)))]


FAILED = [synthetic.ended(r.trial, "oom", "CUDA out of memory") for r in grid()]
BAD = {
    "an empty run": ([], "No trial here has a result yet"),
    "one trial": (grid(methods=[]), "Every setting has one seed"),
    "all failed": (FAILED, "No trial has been measured"),
    "one method": (grid(), "no random control"),
    "one seed here and there": (
        [*grid(seeds=3), *grid(compressions=[2])[1:]],
        "1 of 3 settings has one seed: what sets",
    ),
    "untrained": (untrained(), "less than 20% say nothing about kept accuracy: digits · lenet5 (10%)"),
    "no dense": (grid(dense=False), "no dense network"),
    "NaN latency": (nan_latency(), "pca"),
    "nothing timed": ([synthetic.without_latency(r) for r in grid()], "Nothing was timed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_a_page_that_says_what_is_there_and_what_is_not(tmp_path, case):
    results, told = BAD[case]
    page = page_of(store_results(tmp_path, results), Scope("synthetic-1"))
    assert told in seen(page)
    assert "NaN" not in json.dumps(data_of(page)["charts"]) and "Infinity" not in json.dumps(data_of(page)["headline"])


def test_two_hundred_methods_are_drawn(tmp_path):
    results = [
        synthetic.result("digits", "lenet5", Choice(f"method_{i:03}", {"keep": 0.5}), 2 + i / 50, 0, (1,))
        for i in range(200)
    ]
    results += grid(methods=[])
    data = data_of(page_of(store_results(tmp_path, results)))
    assert len(data["series"]) == 201
    assert {chart["name"] for chart in data["charts"]} >= {"accuracy_compression", "latency"}


def hostile_results():
    """One measured and one failed trial with every name, reason and machine hostile."""
    method = Choice(HOSTILE, {HOSTILE: HOSTILE})
    ok = synthetic.result(HOSTILE, HOSTILE, method, 4, 0)
    layers = tuple(replace(one, name=HOSTILE, left_alone=HOSTILE) for one in ok.measurement.layers)
    failed = synthetic.ended(synthetic.trial(HOSTILE, HOSTILE, method, 1), "failed", HOSTILE, HOSTILE)
    provenance = replace(synthetic.PROVENANCE, host=HOSTILE, cpu=HOSTILE, plugins={HOSTILE: HOSTILE})
    dense = synthetic.result(HOSTILE, HOSTILE, synthetic.DENSE, 1, 0)
    return [dense, replace(ok, measurement=replace(ok.measurement, layers=layers), provenance=provenance), failed]


def test_hostile_names_stay_text(tmp_path):
    page = page_of(store_results(tmp_path, hostile_results(), grid=HOSTILE), Scope("synthetic-1"))
    tags = Tags(page)
    assert "img" not in tags.tags and tags.tags.count("script") == 3
    assert not any(name.startswith("on") for name, _ in tags.attributes)
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028]", page.replace(bundle(), ""))
    assert any("window.hacked" in text and "\\x1b[31m" in text for text in tags.texts)


def test_a_refreshing_page_says_so_and_a_finished_one_does_not(tmp_path, usual, usual_page):
    path = write_report(usual, "synthetic-1", tmp_path / "deep" / "r.html", refresh_seconds=5)
    assert '<meta http-equiv="refresh" content="5">' in path.read_text()
    assert 'http-equiv="refresh"' not in usual_page
    assert "1 of 1 claim held" in path.read_text() and ">Audit</h2>" in path.read_text()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path, usual):
    (tmp_path / "file").write_text("")
    with pytest.raises(PruneBenchError, match="cannot be written"):
        write_report(usual, None, tmp_path / "file" / "r.html")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_machine_stands_once_with_every_plugin_and_commit(tmp_path):
    first, second = grid()
    other = replace(synthetic.PROVENANCE, git_commit="f" * 40, plugins={"pca": "prunebench 0.1.0"})
    text = seen(page_of(store_results(tmp_path, [first, replace(second, provenance=other)])))
    assert text.count("<h3>bench-one</h3>") == 1
    assert f"{'0' * 40}, {'f' * 40}" in text
    assert "low_rank (prunebench 0.1.0), magnitude (prunebench 0.1.0), pca (prunebench 0.1.0)" in text


def test_the_protocol_says_what_each_side_chose(tmp_path, usual_page):
    def chosen(result, pruned_format):
        conditions = {
            "dense_memory_format": "contiguous", "pruned_memory_format": pruned_format,
            "dense_in_place": 2, "dense_activations": 4, "pruned_in_place": 1, "pruned_activations": 1,
        }  # fmt: skip
        measurement = result.measurement
        timings = tuple(replace(one, memory_format="fastest", conditions=conditions) for one in measurement.latency)
        protocol = replace(result.trial.protocol, latency=LatencyProtocol(memory_format="fastest", in_place=True))
        trial = replace(result.trial, protocol=protocol)
        return replace(result, trial=trial, measurement=replace(measurement, latency=timings))

    plain, *others = [result for result in synthetic.grid_results() if result.measurement]
    formats = ["contiguous", "channels_last"]
    path = store_results(tmp_path, [plain, *map(chosen, others[:2], formats)])
    page = seen(page_of(path))
    assert "Dense: channels_last in 0 of 4 timings, 8 of 16 activations in place." in page
    assert "Pruned: channels_last in 2 of 4 timings, 4 of 4 activations in place." in page
    assert page.count("Found by measurement") == 1, "the other protocol left nothing to it"
    assert "Found by measurement" not in usual_page


def test_one_seed_is_judged_by_its_own_interval(tmp_path):
    dense, pruned = grid(methods=["low_rank"], seeds=1)
    timed = replace(pruned.measurement.latency[0], speedup=1.10, speedup_low=1.01, speedup_high=1.198)
    sure = replace(timed, speedup_low=1.05, speedup_high=1.152)
    for at, (latency, verdict) in enumerate([(timed, "can't tell"), (sure, "faster")]):
        made = replace(pruned, measurement=replace(pruned.measurement, latency=(latency,)))
        path = store_results(tmp_path / str(at), [dense, made])
        with open_results(path) as results:
            rows = headline(results).to_dicts()
            told = results.query("select verdict from speedups where not is_dense")["verdict"].to_list()
        assert [row["verdict"] for row in rows] == [None, verdict] and told == [verdict]
