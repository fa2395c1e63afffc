"""A comparison reads as the paper's table does: together what belongs together, the difference, the reason once."""

import re

from prunebench.report.comparison_table import tables

SIDES = {
    "published_parameters": 5240,
    "our_parameters": 5241,
    "published_top1_percent": 88.173,
    "our_top1_percent": 92.0,
}


def row(**facts):
    return {"table": "Table 1", "setting": 5, **SIDES, "scale": "offline", "why_it_differs": "other letters", **facts}


def cells(page):
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td[^>]*>.*?</td>", page)]


def test_published_and_ours_share_a_heading_and_have_their_difference():
    page = tables([row(), row(setting=10, our_parameters=5240, our_top1_percent=87.173)])
    assert '<th scope="colgroup" colspan="3" class="group">parameters</th>' in page
    assert cells(page) == [
        *("5", "5,240", "5,241", "+1", "88.17", "92.00", "+3.83"),
        *("10", "5,240", "5,240", "0", "88.17", "87.17", "−1.00"),
    ]


def test_a_single_seed_is_marked():
    assert cells(tables([row(seeds=1), row(setting=10, seeds=3)]))[-1] == "3"
    assert "(1 seed)" in cells(tables([row(seeds=1), row(setting=10, seeds=3)]))
    assert "seeds (1 seed)" in tables([row(seeds=1), row(setting=10, seeds=1)])


def test_rows_of_a_table_stand_under_its_name():
    page = tables([row(), row(setting=10), row(table="Table 2"), row(table="Table 2", setting=10)])
    assert re.findall("<h3>(.*?)</h3>", page) == ["Table 1", "Table 2"]
    assert page.count("<table") == 2


def test_what_is_the_same_throughout_is_said_once():
    page = tables([row(our_top1_percent=None), row(setting=10, scale=None)])
    assert "scale offline" in page and "other letters" in page
    assert "<td" in page and "offline" not in page[page.index("<table") :]


def test_a_reason_of_neighbours_is_one_cell():
    page = tables([row(), *(row(setting=setting, why_it_differs="a fresh copy") for setting in (10, 20))])
    assert page.count("a fresh copy") == 1 and '<td class="wordy" rowspan="2">a fresh copy</td>' in page


def test_one_side_missing_is_a_dash_and_no_difference():
    page = tables([row(our_parameters=None), row(setting=10, published_parameters=9309)])
    assert cells(page)[:4] == ["5", "5,240", "–", "–"]


def test_names_have_no_difference_and_spreads_neither():
    rows = [{"published_model": "AlexNet", "our_model": name, "published_std": 1.0, "our_std": 2.5} for name in "ab"]
    page = tables(rows)
    assert "difference" not in page and "std published 1, ours 2.5" in page


def test_long_tables_are_folded_under_their_name():
    page = tables([row(setting=place) for place in range(20)])
    assert "<summary>Table 1: 20 rows</summary>" in page


def test_what_a_plugin_brings_is_text():
    page = tables([row(table="<script>", why_it_differs="<b>"), row(table="<script>", why_it_differs="x")])
    assert "<script>" not in page and "<b>" not in page
    assert "no row" in tables([])
