"""`bench new`: a package that passes the kit and runs as it is."""

from __future__ import annotations

import ast
import tomllib

import pytest
from prunebench.errors import PluginError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.scaffold import KINDS, new_package
from prunebench.testing import (
    check_chart,
    check_dataset,
    check_method,
    check_metric,
    check_model,
    check_objective,
    check_paper,
)

CHECKS = {
    "method": lambda cls: check_method(cls, speed=False),
    "model": check_model,
    "dataset": check_dataset,
    "objective": check_objective,
    "paper": check_paper,
    "metric": check_metric,
    "chart": check_chart,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_the_kit_and_its_grid_plans(kind, tmp_path):
    written = new_package(kind, f"fresh_{kind}", tmp_path)
    root = tmp_path / f"prunebench-fresh-{kind}"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["prunebench"] == {f"fresh_{kind}": f"prunebench_fresh_{kind}"}
    module = root / f"prunebench_fresh_{kind}"
    installed = find_installed([module / "__init__.py" if kind == "paper" else module.with_suffix(".py")])
    name = f"fresh-{kind}" if kind == "paper" else f"fresh_{kind}"
    plugin = installed.find(kind, name)
    assert CHECKS[kind](plugin.cls) == []
    assert "api_version" in vars(plugin.cls), "declared, so that it is seen as old once there is a newer API"
    text = plugin.cls().grid("offline") if kind == "paper" else (root / "grid.toml").read_text()
    assert len(plan(Grid.parse(text), installed).trials) >= 3
    for path in written:
        if path.suffix == ".py":
            ast.parse(path.read_text())
        sent = path.read_text().replace("${{", "").replace("($published)", "").replace("'$.keep'", "")
        assert "$" not in sent, f"{path.name}: a word of the template was not filled in"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "A", "../x", "a" * 60])
def test_a_name_that_cannot_be_a_package_is_refused(name, tmp_path):
    with pytest.raises(PluginError, match="cannot be a package"):
        new_package("method", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    new_package("method", "twice", tmp_path)
    with pytest.raises(PluginError, match="already exists"):
        new_package("method", "twice", tmp_path)
