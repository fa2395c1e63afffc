"""The catalogue of published plugins: kept right, and read where a name is unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from prunebench.cli import bench
from prunebench.errors import PluginError
from prunebench.plugins import registry
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.registry import data_path, faults, load_registry

GOOD = """
[[plugin]]
kind = "method"
name = "gumbel"
distribution = "prunebench-gumbel"
summary = "Masks learnt through gates."
tested = ">=0.1,<0.3"
paper = "https://arxiv.org/abs/1611.01144"
"""
GRID = """
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = "{}"
"""


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch):
    """A catalogue with one plugin that is not installed, in the place of the bundled one."""
    path = tmp_path / "registry.toml"
    path.write_text(GOOD)
    monkeypatch.setattr(registry, "data_path", lambda name: path if name == "registry.toml" else data_path(name))
    load_registry.cache_clear()
    yield path
    load_registry.cache_clear()


def test_the_bundled_catalogue_is_right_and_its_bundled_plugins_exist():
    path = data_path("registry.toml")
    assert faults(path) == []
    installed = find_installed()
    for entry in load_registry(path).entries:
        if entry.distribution.split("[")[0] == "prunebench":
            assert installed.find(entry.kind, entry.name).cls.paper == entry.paper


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('kind = "method"', 'kind = "metod"', "kind must be one of method, model"),
        ('name = "gumbel"', 'name = "a b"', "name must match"),
        ('"prunebench-gumbel"', '"pip install x"', "distribution must be what pip installs"),
        ('"prunebench-gumbel"', '""', "distribution must be what pip installs"),
        ("Masks learnt through gates.", " ", "summary must be one line"),
        (">=0.1,<0.3", "newest", "tested must be a range of versions"),
        ("https://arxiv.org", "http://arxiv.org", "paper must be an https:// link"),
        ("https://arxiv.org/abs/1611.01144", "arxiv", "paper must be an https:// link"),
        ('paper = "', 'homepge = "', "unknown key 'homepge', did you mean 'homepage'?"),
    ],
)
def test_an_entry_that_is_wrong_is_named_with_the_fix(tmp_path, old, new, fault):
    path = tmp_path / "registry.toml"
    path.write_text(GOOD)
    assert faults(path) == []
    path.write_text(GOOD.replace(old, new))
    (line,) = faults(path)
    assert line.startswith("entry 1 (") and fault in line


def test_a_name_that_is_listed_twice_is_a_fault(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text(GOOD * 2)
    assert faults(path) == ["method gumbel is listed 2 times"]


def test_a_catalogue_without_a_distribution_is_refused(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text(GOOD.replace('distribution = "prunebench-gumbel"\n', ""))
    with pytest.raises(PluginError, match="distribution"):
        faults(path)


def test_a_grid_with_an_unknown_name_says_which_distribution_brings_it(catalogue, tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.format("gumbel"))
    made = CliRunner().invoke(bench, ["plan", "--grid", str(grid)])
    text = f"{made.output} {made.exception}"
    assert made.exit_code != 0
    assert "no method 'gumbel' is installed" in text and "pip install 'prunebench-gumbel'" in text


def test_the_list_of_plugins_ends_with_what_is_published_and_not_installed(catalogue):
    made = CliRunner().invoke(bench, ["plugins"])
    assert "published: method gumbel: Masks learnt through gates. (pip install 'prunebench-gumbel')" in made.output


@pytest.mark.parametrize("command", [["check", "gumbel"], ["plugins", "show", "gumbel"]])
def test_a_command_about_a_plugin_that_is_not_installed_says_how_to_get_it(catalogue, command):
    made = CliRunner().invoke(bench, command)
    assert made.exit_code != 0 and "pip install 'prunebench-gumbel'" in f"{made.output} {made.exception}"
