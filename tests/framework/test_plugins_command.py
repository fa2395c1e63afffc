"""`bench plugins`: every plugin with its state, its paper and its traits; a broken one says why when asked for."""

from __future__ import annotations

import json

import pytest
from prunebench.cli import _status
from prunebench.plugins import contracts, discovery

from tests.framework.test_discovery import GOOD, Point

RICH = (
    GOOD.replace('name = "mine"', 'name = "rich"; paper = "https://example.org/rich"; knob = "share"')
    .replace('name = "rich"', 'name = "rich"; stochastic = True')
    .replace("share: float = 0.5", 'share: float = 0.5\n    loosest = {"share": 1.0}')
    .replace("Mine", "Rich")
)


@pytest.fixture
def said(monkeypatch, capsys):
    """`said("plugins", …)` -> exit code, output and errors, with these entry points."""
    found = [
        Point("a", GOOD, "prunebench-a"),
        Point("rich", RICH),
        Point("gone", "import absent_package", "prunebench-gone"),
        Point("half", GOOD.replace("def prune", "def prone").replace("mine", "half"), "prunebench-half"),
    ]
    monkeypatch.setattr(discovery, "entry_points", lambda group: found)

    def call(*words):
        code = _status(list(words))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_a_line_has_the_state_and_the_paper(said):
    _, out, _ = said("plugins")
    (line,) = [line for line in out.splitlines() if " rich " in line]
    assert " healthy " in line and "example.org/rich" in line


def test_a_plugin_for_an_older_api_is_called_old_and_goes_on(said, monkeypatch):
    monkeypatch.setattr(contracts, "API_VERSION", 2)
    installed = json.loads(said("plugins", "--json")[1])["installed"]
    assert {plugin["name"]: plugin["state"] for plugin in installed} == {"mine": "old API 1", "rich": "old API 1"}


def test_a_default_that_no_grid_can_hold_is_no_healthy_state(said, monkeypatch):
    odd = GOOD.replace("share: float = 0.5", "share: dict = field(default_factory=dict)")
    odd = odd.replace("import dataclass", "import dataclass, field")
    monkeypatch.setattr(discovery, "entry_points", lambda group: [Point("a", odd, "prunebench-a")])
    (plugin,) = json.loads(said("plugins", "--json")[1])["installed"]
    assert plugin["state"].startswith("mine: share has a dict as default, which a grid cannot hold")


def test_a_name_that_two_claim_is_a_clash(said, monkeypatch):
    both = [Point("a", GOOD, "prunebench-a"), Point("b", GOOD, "prunebench-b")]
    monkeypatch.setattr(discovery, "entry_points", lambda group: both)
    assert [plugin["state"] for plugin in json.loads(said("plugins", "--json")[1])["installed"]] == ["clash", "clash"]


def test_show_tells_knob_loosest_and_whether_it_draws(said):
    code, out, _ = said("plugins", "show", "rich")
    assert code == 0
    for line in ("knob: share", "loosest: share = 1.0", "stochastic: yes", "state: healthy", "api version: 1"):
        assert line in out.splitlines()
    assert json.loads(said("plugins", "show", "rich", "--json")[1])[0]["loosest"] == {"share": 1.0}


@pytest.mark.parametrize("verb", [("plugins", "show"), ("check",)], ids=" ".join)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "plugin gone (prunebench-gone 1.2) is broken: ModuleNotFoundError: No module named 'absent_package'"),
        ("prunebench-gone", "is broken: ModuleNotFoundError"),
        ("half", "plugin half: Mine (prunebench-half 1.2) is broken: does not define prune()"),
        ("rihc", "no plugin 'rihc' is installed, did you mean 'rich'? (broken, so that it may be theirs: gone"),
    ],
)
def test_asked_for_a_broken_plugin_it_says_why(said, verb, name, why):
    code, _, err = said(*verb, name)
    assert code == 2 and why in err and err.count("\n") == 1


def test_a_file_may_stand_before_or_behind_show(said, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(GOOD.replace("mine", "own"))
    assert said("plugins", "show", "own", "--plugin", str(file))[1].startswith("own (method, ")
    assert said("plugins", "--plugin", str(file), "show", "own")[1].startswith("own (method, ")


def test_a_file_with_one_bad_class_names_the_class(said, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(GOOD.replace("def prune", "def prone"))
    code, _, err = said("check", "mine", "--plugin", str(file))
    assert code == 2 and "own.py: Mine: does not define prune()" in err


@pytest.mark.parametrize("version", ["0", "'1'"])
def test_an_api_version_that_is_none_is_told(said, tmp_path, version):
    file = tmp_path / "own.py"
    file.write_text(GOOD.replace('name = "mine"', f'name = "mine"; api_version = {version}'))
    assert "api_version must be a whole number from 1 on, got " in said("check", "mine", "--plugin", str(file))[2]
