"""Plugins found one by one: a broken one is a line, never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_points import GOOD, Point
from prunebench.errors import PluginError
from prunebench.plugins import discovery, loading
from prunebench.plugins.discovery import Installed, find_installed
from toys import Keep


@pytest.fixture
def points(monkeypatch):
    def give(*given: Point) -> Installed:
        monkeypatch.setattr(discovery, "entry_points", lambda group: list(given))
        return find_installed()

    return give


SHAPELESS = """
from dataclasses import dataclass
from prunebench import Model, hookimpl

@dataclass(frozen=True)
class Shapeless(Model):
    name = "shapeless"
    def build(self, class_count): ...

@hookimpl
def models(): return [Shapeless]
"""


def test_a_plugin_is_found_with_its_owner(points):
    plugin = points(Point("a", GOOD)).find("method", "mine")
    assert (plugin.distribution, plugin.version) == ("prunebench-test", "1.2")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import absent_package", "ModuleNotFoundError: No module named 'absent_package'"),
        ("import sys; sys.exit(3)", "calls sys.exit(3) while it is imported"),
        (GOOD.replace("def methods", "def method"), "unknown hook 'method', did you mean 'methods'?"),
        (GOOD.replace("@hookimpl\n", ""), "registers no plugins: define one of"),
        (GOOD.replace("return [Mine]", "return [3]"), "must return subclasses of Method, got 3"),
        (GOOD.replace("return [Mine]", "raise ValueError('no')"), "ValueError: no"),
        (GOOD.replace("def methods()", "def methods(extra)"), "extra"),
        (GOOD.replace('name = "mine"', 'name = "</script>"'), "name = '</script>' is not allowed"),
        (
            GOOD.replace('name = "mine"', 'name = "mine"; api_version = 99'),
            "needs plugin API 99, this prunebench has 1",
        ),
        (GOOD.replace("@dataclass(frozen=True)\n", ""), "is not a @dataclass(frozen=True)"),
        (GOOD.replace("def prune", "def prone"), "does not define prune()"),
        (GOOD.replace("share:", "seed:"), "may not be called 'seed'"),
        (SHAPELESS, "is missing the class attribute input_shape"),
    ],
)
def test_a_broken_plugin_is_one_line_and_the_others_work(points, source, line):
    installed = points(Point("bad", source, "prunebench-bad"), Point("good", GOOD))
    assert [b.distribution for b in installed.broken] == ["prunebench-bad"]
    assert line in installed.broken[0].reason and "\n" not in installed.broken[0].reason
    assert installed.find("method", "mine").distribution == "prunebench-test"


def test_a_plugin_that_prints_is_named_and_its_print_kept_from_the_output(points, capsys):
    installed = points(Point("loud", "print('hello')\n" + GOOD))
    assert "loud" in installed.warnings[0] and capsys.readouterr().out == ""
    assert installed.find("method", "mine")


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(3600)",
        "import time\nwhile True:\n    try:\n        time.sleep(3600)\n    except Exception: pass",
    ],
)
def test_a_plugin_that_imports_too_slowly_is_left_out_and_waited_for_once(points, monkeypatch, capsys, source):
    monkeypatch.setattr(loading, "IMPORT_LIMIT_SECONDS", 0.3)
    monkeypatch.setattr(loading, "NOTICE_SECONDS", 0.1)
    monkeypatch.setattr(loading, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(loading, "_given_up", {})
    slow, good = Point("slow", source), Point("good", GOOD)
    installed = points(slow, good)
    assert "takes longer than 0.3 s" in installed.broken[0].reason and installed.find("method", "mine")
    assert "plugin prunebench-test:slow is still being imported" in capsys.readouterr().err
    slow.source = "raise AssertionError('imported again')"
    assert points(slow, good).broken == installed.broken


def test_one_entry_point_is_skipped_without_its_namesakes(points, monkeypatch):
    bad, namesake = Point("a", "raise ValueError", "bad"), Point("a", GOOD, "good")
    installed = points(bad, namesake)
    monkeypatch.setattr(discovery, "entry_points", lambda group: [bad, namesake])
    without = find_installed(disabled=[fault.entry for fault in installed.broken])
    assert without.broken == () and without.find("method", "mine").distribution == "good"


def test_a_name_of_two_owners_is_refused_only_where_it_is_used(points):
    installed = points(Point("a", GOOD, "first"), Point("b", GOOD, "second"))
    assert len(installed.clashes) == 1
    with pytest.raises(PluginError, match=r"claimed by first 1\.2 and second 1\.2"):
        installed.find("method", "mine")


def test_disabled_plugins_are_not_loaded(points, monkeypatch):
    monkeypatch.setattr(discovery, "entry_points", lambda group: [Point("a", GOOD), Point("b", "raise ValueError")])
    assert not find_installed(disabled=["b"]).broken
    monkeypatch.setenv("PRUNEBENCH_DISABLE_PLUGINS", "all")
    assert find_installed().plugins == ()


def test_a_plugin_file_is_known_by_its_hash(tmp_path: Path):
    path = tmp_path / "my_method.py"
    path.write_text(GOOD)
    first = find_installed([path], ["all"]).find("method", "mine")
    path.write_text(GOOD + "\n# changed\n")
    second = find_installed([path], ["all"]).find("method", "mine")
    assert first.code and first.code != second.code


@pytest.mark.parametrize(("text", "line"), [("import nothing_here", "nothing_here"), (None, "cannot be read")])
def test_a_plugin_file_that_fails_is_refused(tmp_path: Path, text, line):
    path = tmp_path / "bad.py"
    if text:
        path.write_text(text)
    with pytest.raises(PluginError, match=line):
        find_installed([path], ["all"])


def test_every_bundled_plugin_is_healthy():
    installed = find_installed()
    assert installed.broken == () and installed.warnings == () and installed.clashes == []
    assert {"dense", "random", "magnitude", "low_rank", "pca"} <= set(installed.of_kind("method"))


def test_a_class_can_be_added_by_hand():
    assert Installed().named("method", "keep", Keep).find("method", "keep").cls is Keep
