"""One table of plugin kinds: whatever belongs to a kind is there for each row, and nothing is left that has no row."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from prunebench import pytest_plugin, testing
from prunebench.engine.session import prepare, run_record
from prunebench.plugins import hookspecs
from prunebench.plugins.kinds import KINDS
from prunebench.plugins.scaffold import TEMPLATES


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_has_contract_hook_kit_fixture_and_template(kind):
    assert inspect.isabstract(kind.base) or kind.name == "paper"
    assert getattr(hookspecs, kind.hook).__doc__ == kind.about
    assert kind.kit in testing.__all__ and hasattr(pytest_plugin, kind.kit)
    assert (TEMPLATES / kind.template / "module.py.template").is_file()


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_names_options_that_its_kit_takes(kind):
    takes = set(inspect.signature(getattr(testing, kind.kit)).parameters) & {"settings", "speed"}
    assert takes == set(kind.kit_options)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_names_traits_that_its_contract_declares(kind):
    declared = vars(kind.base)["__annotations__"]
    assert set(kind.traits) <= set(declared), "bench plugins show would print nothing"


def test_nothing_has_a_template_or_a_kit_without_a_row():
    assert {path.name for path in TEMPLATES.iterdir() if path.is_dir()} - {"common"} == {
        k.template for k in KINDS.values()
    }
    assert {n for n in testing.__all__ if n.startswith("check_")} - {"check_plugin"} == {k.kit for k in KINDS.values()}


def test_the_table_loads_no_contract():
    code = "import sys, prunebench.plugins.kinds; print('prunebench.plugins.contracts' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "False"


def test_a_setting_called_control_makes_no_control(tmp_path):
    prepared = prepare(Path(__file__).parents[2] / "grids" / "quickstart.toml", db=tmp_path / "r.duckdb")
    controls = run_record(prepared).options["controls"]
    assert {"dense", "random"} <= set(controls)
    assert "lottery_ticket" not in controls, "its `control` is a setting: 'none' is no yes"
