"""What an author gets wrong is said at once and by name."""

from __future__ import annotations

import json
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


def test_all_unknown_keys_and_fields_of_a_grid_are_said_in_one_call(place, capfd):
    text = GRID.replace("name =", "nam =").replace("epochs", "epohcs").replace("seed =", "seeds =")
    Path("g.toml").write_text(text.replace("METHOD", '"fine"') + "\n[[block]]\nmethods = []\n")
    assert call("plan", "-g", "g.toml") == 2
    said = capfd.readouterr().err
    assert all(f"'{name}'" in said for name in ("nam", "epohcs", "seeds", "methods")) and len(said.splitlines()) == 1
    Path("g.toml").write_text(
        text.replace("METHOD", '{ use = "fine", rnak = 2 }') + "\n[[block]]\nmethods = []\nmodel = 3\n"
    )
    assert call("plan", "-g", "g.toml") == 2
    said = capfd.readouterr().err
    assert all(f"'{name}'" in said for name in ("nam", "epohcs", "seeds", "methods", "rnak")), "fields of a method, too"
    assert "block 1, method: " in said and len(said.splitlines()) == 1
    block = '[[block]]\ndataset = { use = "digits", sise = 3 }\nmodel = "lenet5"\nmethod = { use = "fine", rnk = 3 }\n'
    Path("g.toml").write_text(GRID.replace("METHOD", '{ use = "fine", rnak = 2 }') + block)
    assert call("plan", "-g", "g.toml") == 2
    said = capfd.readouterr().err
    assert all(f"'{name}'" in said for name in ("rnak", "sise", "rnk")) and "block 2, dataset" in said
    assert len(said.splitlines()) == 1


UNREAD = '''
from dataclasses import dataclass
from prunebench import Dataset, hookimpl

@dataclass(frozen=True)
class Unread(Dataset):
    """Loads a string."""
    name = "unread"
    class_count = 3
    def available(self, folder): return (folder / "unread").is_dir()
    def load(self, input_shape, folder): return "nothing"

@hookimpl
def datasets(): return [Unread]
'''


def test_what_the_kit_could_not_try_is_said_to_programs_too(place, capfd):
    Path("plug.py").write_text(UNREAD)
    assert call("check", "unread", "--json", "--data-dir", "nowhere") == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert told["tried"] is False and told["check"] == "untried" and "not there in nowhere" in told["seen"]
    Path("data/unread").mkdir(parents=True)
    assert call("check", "unread", "--json", "--data-dir", "data") == 1
    found = json.loads(capfd.readouterr().out)
    assert [entry["tried"] for entry in found] == [True] and "load returned str" in found[0]["seen"]


PAPER = '''
from dataclasses import dataclass
from pathlib import Path
from prunebench import Paper, hookimpl

@dataclass(frozen=True)
class Noted(Paper):
    """A note."""
    name = "noted"
    title, citation = "A note", "A note, 2026"
    folder = Path("paper").absolute()

@hookimpl
def papers(): return [Noted]
'''


def test_a_comparison_that_is_no_sql_is_found_whenever_it_breaks(place, capfd):
    folder = Path("paper")
    folder.mkdir()
    Path("plug.py").write_text(PAPER)
    for scale in ("full", "offline"):
        (folder / f"{scale}.toml").write_text(GRID.replace("METHOD", '"dense"'))
    (folder / "published.csv").write_text("name,value\na,1\n")
    right, wrong = "select name, value from ($published)", "selct name from ($published)"
    for sql, code in ((right, 0), (wrong, 1), (right, 0), (wrong, 1)):
        (folder / "comparison.sql").write_text(sql)
        assert call("check", "noted") == code, capfd.readouterr().out
        assert ("comparison:" in capfd.readouterr().out) == (sql == wrong)
