"""A plugin that lives outside: its wheel is built, installed in a fresh environment, checked and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "prunebench-global-magnitude"
GRID = """
name = "outside"
[protocol]
train = { epochs = 1, batch_size = 64, lr = 2e-3 }
latency = { batch = [] }
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = { use = "global_magnitude", sparsity = 0.5 }
"""


def done(*command: str | Path, folder: Path) -> str:
    """What the command printed; the test fails with all of it where the command does."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    made = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=kept, timeout=240, check=False)
    assert made.returncode == 0, f"{command}\n{made.stdout}\n{made.stderr}"
    return made.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with the example's wheel in it.

    A path file lends it this environment's packages, torch among them, so that nothing is downloaded; the plugin itself
    is nowhere but in the fresh environment.
    """
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install 'prunebench[test]'")
    folder = tmp_path_factory.mktemp("outside")
    pip = (sys.executable, "-m", "pip")
    done(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, EXAMPLE, folder=folder)
    (wheel,) = folder.glob("prunebench_global_magnitude-*.whl")
    done(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    done(*pip, "install", "--no-deps", "--no-index", "--quiet", "--target", site, wheel, folder=folder)
    return folder / "venv" / "bin" / "python"


@pytest.mark.slow
def test_the_wheel_is_found_with_its_owner(python, tmp_path):
    facts = json.loads(done(python, "-m", "prunebench", "plugins", "--json", folder=tmp_path))
    (plugin,) = [p for p in facts["installed"] if p["name"] == "global_magnitude"]
    assert (plugin["distribution"], plugin["version"]) == ("prunebench-global-magnitude", "0.1.0")
    assert facts["broken"] == []


@pytest.mark.slow
def test_the_kit_finds_nothing_in_it(python, tmp_path):
    assert "no faults found" in done(
        python, "-m", "prunebench", "check", "global_magnitude", "--quick", folder=tmp_path
    )


@pytest.mark.slow
def test_its_own_tests_pass_where_it_is_installed(python, tmp_path):
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    assert "2 passed" in done(python, "-m", "pytest", "-q", "tests", folder=tmp_path)


@pytest.mark.slow
def test_a_grid_with_it_ends_as_rows_that_name_the_distribution(python, tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    database = tmp_path / "results.duckdb"
    run = ("run", "--grid", "grid.toml", "--db", database, "--devices", "cpu", "--no-report")
    done(python, "-m", "prunebench", *run, folder=tmp_path)
    sql = "select method, status from trials order by method"
    rows = json.loads(done(python, "-m", "prunebench", "query", sql, "--db", database, "--json", folder=tmp_path))
    assert [(row["method"], row["status"]) for row in rows] == [("dense", "ok"), ("global_magnitude", "ok")]


def test_the_module_is_as_small_as_promised():
    lines = (EXAMPLE / "prunebench_global_magnitude.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 25
    entry = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["prunebench"]
    assert entry == {"global_magnitude": "prunebench_global_magnitude"}
