"""A handful of cells of `benchmarks/take_home.py`: saved, loaded without plugins, the same in both runtimes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import runtime_speedups
import take_home
from prunebench.plugins.discovery import find_installed

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
DOCS = Path(__file__).parents[1] / "docs"
CELLS = [("lenet5", "magnitude"), ("lenet5", "int8"), ("lenet5", "low_rank")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
def test_a_pruned_network_is_the_same_wherever_it_is_taken(tmp_path):
    installed = find_installed()
    rows = [take_home.cell(network, method, installed, tmp_path) for network, method in CELLS]
    take_home.loaded_elsewhere(rows, tmp_path)
    for row in rows:
        assert row["batch"] == "any"
        for place in ("saved", "onnxruntime", "openvino"):
            assert isinstance(row[place], float) and row[place] <= take_home.TOLERANCE, row


def test_the_page_shows_what_both_benchmarks_kept():
    text = (DOCS / "own-network.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(DOCS / "make" / "own_network.py"))["page"](text)
    assert made == text, "run: python docs/make/own_network.py"


def test_the_table_of_speedups_says_what_was_measured_declined_and_not_tried():
    about = {"network": "n", "method": "m", "factor": 2.0, "batch": 1}
    facts = {"date": "2026-01-02", "processor": "p", "torch": "1", "onnxruntime": "2", "openvino": "3"}
    number = {"reached": 2.1, "speedup": 1.5, "low": 1.4, "high": 1.6, "contention": 0.5}
    rows = [
        {**about, **facts, **number, "runtime": "torch"},
        {**about, **facts, "runtime": "openvino", "why": "no such operator"},
        {**about, **facts, **number, "runtime": "openvino", "batch": 64},
    ]
    text = runpy.run_path(str(DOCS / "make" / "own_network.py"))["speedups"](rows)
    assert "| n | `m` | ÷2.10 | 1 | 1.50 [1.40, 1.60] | – |" in text
    assert "| n | `m` | ÷2.10 | 64 | not tried | 1.50 [1.40, 1.60] |" in text
    assert "- `m` on n at ÷2: no such operator" in text and "in 2 of 2 timings others had more than 30 %" in text


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_a_share_of_channels_is_found_for_a_number_of_products(factor):
    found = runtime_speedups._searched(lambda settings: (settings, settings["keep"] ** -1.4), factor)
    assert found[1] == pytest.approx(factor, rel=runtime_speedups.WITHIN)
