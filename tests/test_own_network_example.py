"""The example of a network of one's own runs as it stands, and its grid plans."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed

FOLDER = Path(__file__).parents[1] / "examples" / "own_network"


def test_the_example_compares_saves_and_loads(tmp_path):
    command = [sys.executable, "-W", "error::UserWarning", FOLDER / "own_network.py", "--folder", tmp_path / "results"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    right = re.search(r"right on ([\d.]+)% of all digits", done.stdout)
    assert "low_rank" in done.stdout and right and float(right[1]) > 90, done.stdout
    assert (tmp_path / "results" / "pruned.safetensors").stat().st_size < 30_000


def test_the_grid_of_the_example_plans_in_its_folder(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "own", ignore=shutil.ignore_patterns("*_results", "__pycache__"))
    monkeypatch.chdir(tmp_path / "own")
    trials = plan(Grid.load("own_network.toml"), find_installed()).trials
    assert {trial.protocol.latency.runtime for trial in trials} == {"torch", "onnxruntime", "openvino"}
    assert len(trials) == 9 and all(trial.model.params["trained"] for trial in trials)
