"""A handful of cells of `benchmarks/take_home.py`: saved, loaded without plugins, the same in both runtimes."""

from __future__ import annotations

import pytest
import take_home
from prunebench.plugins.discovery import find_installed

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
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
