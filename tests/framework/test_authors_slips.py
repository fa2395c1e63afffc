"""What an author gets wrong is said at once and by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from prunebench.cli import main

PLUGIN = '''
from dataclasses import dataclass, field
from prunebench import Method, hookimpl, param

@dataclass(frozen=True)
class Keeps(Method):
    """A default that a grid cannot hold."""
    name = "keeps"
    plain: int = 1
    table: dict = field(default_factory=dict)
    def prune(self, network, task): return network

@dataclass(frozen=True)
class Fine(Method):
    """Leaves the network as it is."""
    name = "fine"
    rank: int = param(1, "a rank", at_least=1)
    def prune(self, network, task): return network

@hookimpl
def methods(): return [Keeps, Fine]
'''
GRID = """
name = "g"
[protocol]
train = { epochs = 0 }
latency = { batch = [] }
calibration = 8
evaluation_limit = 16
[[block]]
dataset = "digits"
model = "lenet5"
seed = 0
method = [METHOD]
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("plug.py").write_text(PLUGIN)
    return tmp_path


def call(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*args, "--plugin", "plug.py"])
    return int(end.value.code or 0)


def test_a_default_that_a_grid_cannot_hold_is_one_line_with_its_field(place, capfd):
    Path("g.toml").write_text(GRID.replace("METHOD", '"keeps"'))
    for verb in (("plan",), ("run", "--no-report")):
        assert call(*verb, "-g", "g.toml", "--db", "r.duckdb") == 2
        said = capfd.readouterr().err.strip()
        assert "keeps: table has a dict as default" in said and len(said.splitlines()) == 1
    assert not Path("r.duckdb").exists()


def test_all_unknown_fields_of_an_entry_are_said_at_once(place, capfd):
    Path("g.toml").write_text(GRID.replace("METHOD", '{ use = "fine", rnak = 2, other = 3 }'))
    assert call("plan", "-g", "g.toml") == 2
    said = capfd.readouterr().err
    assert "'rnak'" in said and "'other'" in said and "its fields: rank" in said
