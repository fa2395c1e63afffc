"""The example of a network of one's own runs as it stands, and its grid plans."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed

FOLDER = Path(__file__).parents[1] / "examples" / "own_network"


@pytest.fixture(autouse=True)
def threads():
    """As many as before: the example sets them for itself."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_cell(source, names):
    """Execute a cell and return what its last line shows, as a notebook does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_the_example_compares_draws_saves_loads_and_repeats(tmp_path, capsys):
    runpy.run_path(str(FOLDER / "own_network.py"))["main"](tmp_path / "results", False)
    told = capsys.readouterr().out
    right = re.search(r"right on ([\d.]+)% of all digits", told)
    assert "low_rank" in told and right and float(right[1]) > 90, told
    assert told.endswith("run again: the same\n")
    assert (tmp_path / "results" / "pruned.safetensors").stat().st_size < 30_000
    assert (tmp_path / "results" / "accuracy_compression.html").stat().st_size > 10_000


def test_the_grid_of_the_example_plans_in_its_folder(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "own", ignore=shutil.ignore_patterns("*_results", "__pycache__"))
    monkeypatch.chdir(tmp_path / "own")
    trials = plan(Grid.load("own_network.toml"), find_installed()).trials
    assert {trial.protocol.latency.runtime for trial in trials} == {"torch", "onnxruntime", "openvino"}
    assert len(trials) == 9 and all(trial.model.params["trained"] for trial in trials)


def test_the_notebook_does_the_same_in_all_runtimes(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((FOLDER / "own_network.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    names, shown = {}, []
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace('"max_seconds": 1.0', '"max_seconds": 0.1')
            source = source.replace(', {"use": "magnitude", "keep": 0.28}', "")
            shown.append(run_cell(source, names))
    frame, by_runtime = shown[1], shown[2]
    assert set(by_runtime["runtime"]) == set(frame["runtime"]) == {"torch", "onnxruntime", "openvino"}
    assert by_runtime.height == 6 and by_runtime.filter(by_runtime["runtime"] != "torch")["agrees"].all()
    assert shown[3].to_dict()["datasets"] and shown[4].to_dict()["datasets"]
    assert shown[5][0] < 30_000 and shown[6] > 0.9 and shown[7] == []
