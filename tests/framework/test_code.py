"""What code a plugin is made of, and what becomes of results that other code made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import store_samples as samples
from prunebench.engine.session import Prepared, prepare
from prunebench.errors import PluginError
from prunebench.plugins import code as code_module
from prunebench.plugins.code import Codes, changed, closure, now
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.records import Run
from prunebench.store import open_results

PLUGIN = """
from dataclasses import dataclass
from prunebench import Method, hookimpl
import helper

@dataclass(frozen=True)
class Half(Method):
    name = "half"
    def prune(self, network, task):
        return helper.halved(network)

@hookimpl
def methods():
    return [Half]
"""
GRID = '[[block]]\ndataset = "digits"\nmodel = "simple_fcn"\nseed = 0\nmethod = "half"\n'


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A plugin file with a module beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "helper.py").write_text("def halved(network):\n    return network\n")
    (tmp_path / "grid.toml").write_text(GRID)
    yield tmp_path
    sys.modules.pop("helper", None)


def code_now(folder: Path) -> str:
    return Codes(find_installed((folder / "plugin.py",))).of("method", "half")


def test_a_module_beside_a_plugin_file_is_found_and_counts(beside: Path) -> None:
    first = code_now(beside)
    assert first.startswith("file ") and code_now(beside) == first
    (beside / "unrelated.py").write_text("x = 1\n")
    assert code_now(beside) == first
    (beside / "helper.py").write_text("def halved(network):\n    return None\n")
    assert code_now(beside) != first


def test_two_folders_with_helpers_of_one_name_are_refused(beside: Path) -> None:
    find_installed((beside / "plugin.py",))
    other = beside / "other"
    other.mkdir()
    (other / "second.py").write_text(PLUGIN.replace("half", "second"))
    (other / "helper.py").write_text("def secondd(network):\n    return network\n")
    with pytest.raises(PluginError, match=r"helper is imported from .* already: rename one of the two modules"):
        find_installed((other / "second.py",))


def prepared(folder: Path, **more: object) -> Prepared:
    return prepare(folder / "grid.toml", db=folder / "r.duckdb", plugin_files=(folder / "plugin.py",), **more)  # type: ignore[arg-type]


def keep_all(found: Prepared, codes: bool = True) -> None:
    """Store an ok result for every planned trial, as the worker would."""
    made = Codes(found.installed)
    with found.store.open_run(Run(f"run-{now()}", "r", "2026-01-02T00:00:00+00:00")) as journal:
        for trial in found.plan.trials:
            code = made.of_trial(trial) if codes else {}
            provenance = replace(samples.PROVENANCE, code=code)
            journal.append(samples.result(trial, provenance=provenance))


@pytest.mark.parametrize("merged", [False, True])
def test_what_other_code_made_runs_again_and_stays_as_history(beside: Path, merged: bool) -> None:
    keep_all(prepared(beside))
    if merged:
        prepared(beside).store.merge()
    assert prepared(beside).todo == () and prepared(beside).remarks == []
    (beside / "helper.py").write_text("def halved(network):\n    return None\n")
    again = prepared(beside)
    assert [trial.method.use for trial in again.todo] == ["half"]
    assert again.remarks == [
        "1 trial was made by other code of the method half than today's: rerun now; old results stay as history"
    ]
    keep_all(again)
    assert prepared(beside).todo == ()
    again.store.merge()
    assert prepared(beside).todo == ()
    (beside / "helper.py").write_text("def halved(network):\n    return network\n")  # back: its rows are there still
    assert prepared(beside).todo == ()


def test_ok_rows_run_again_when_asked_and_the_newest_counts(beside: Path) -> None:
    keep_all(prepared(beside))
    again = prepared(beside, retry=("ok",))
    assert again.todo == again.plan.trials and prepared(beside, retry=("all",)).todo == ()
    keep_all(again)
    again.store.merge()
    assert prepared(beside).todo == ()
    with open_results(beside / "r.duckdb") as results:
        counts = "select count(*), (select count(*) from result), (select count(*) from attempts) from trials"
        assert results.query(counts).row(0) == tuple(len(again.todo) * times for times in (1, 2, 2))


def test_rows_that_do_not_know_their_code_are_done(beside: Path) -> None:
    keep_all(prepared(beside), codes=False)
    assert prepared(beside).todo == ()


def test_a_failure_by_todays_code_is_not_hidden_by_an_older_success(beside: Path) -> None:
    keep_all(prepared(beside))
    (beside / "helper.py").write_text("def halved(network):\n    raise ValueError\n")
    found = prepared(beside)
    (trial,) = found.todo
    with found.store.open_run(Run("later", "r", "2026-01-03T00:00:00+00:00")) as journal:
        provenance = replace(samples.PROVENANCE, code=Codes(found.installed).of_trial(trial))
        journal.append(samples.result(trial, status="failed", measurement=None, provenance=provenance))
    assert prepared(beside).finished[trial.id] == "failed" and prepared(beside).todo == ()


def test_another_version_is_said_and_runs_again_when_asked(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_module, "is_editable", lambda name: False)
    keep_all(prepared(beside))
    monkeypatch.setattr(code_module.Plugin, "source", property(lambda plugin: "prunebench 99.0"))
    found = prepared(beside)
    assert found.todo == ()
    assert sorted(found.remarks)[0].endswith("`--retry code` runs such trials again")
    assert len(prepared(beside, retry=("code",)).todo) == 2


def test_only_what_is_known_of_both_times_is_compared() -> None:
    assert changed({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b"]
    assert changed({"a": "1"}, {}) == []


def test_the_closure_follows_imports_wherever_they_are_written(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "from pkg import everything\n",
        "pkg/everything.py": "",
        "pkg/a.py": "from . import b\nfrom .sub import LIMIT\nimport numpy\ndef f():\n    from pkg.c import g\n",
        "pkg/b.py": "import pkg.d as d\n",
        "pkg/c.py": "from .a import f\n",
        "pkg/d.py": "",
        "pkg/sub/__init__.py": "LIMIT = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = closure(tmp_path / "pkg/a.py", "pkg.a", tmp_path, with_packages=True)
    assert sorted(found) == ["pkg (package)", "pkg.a", "pkg.b", "pkg.c", "pkg.d", "pkg.sub"]
    assert "pkg.everything" not in found


def test_what_is_edited_under_a_running_worker_never_counts_as_todays(beside: Path) -> None:
    installed = find_installed((beside / "plugin.py",))
    os.utime(beside / "helper.py", (now() - 50, now() - 50))
    os.utime(beside / "plugin.py", (now() - 50, now() - 50))
    settled, edited = Codes(installed, now() - 10), Codes(installed, now() - 100)
    assert settled.of("method", "half") == Codes(installed).of("method", "half")
    assert edited.of("method", "half").endswith("edited while it was in use")


def test_an_editable_distribution_is_hashed_by_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pip install -e` leaves it: a path file, and a note that it is editable."""
    project, site = tmp_path / "project", tmp_path / "site"
    info = site / "prunebench_mine-0.1.0.dist-info"
    info.mkdir(parents=True)
    project.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: prunebench-mine\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[prunebench]\nhalf = prunebench_mine\n")
    (info / "direct_url.json").write_text(f'{{"dir_info": {{"editable": true}}, "url": "file://{project}"}}')
    (project / "prunebench_mine.py").write_text(PLUGIN.replace("import helper\n", "import mine_helper\n"))
    (project / "mine_helper.py").write_text("x = 1\n")
    script = (
        "from prunebench.plugins.code import Codes; from prunebench.plugins.discovery import find_installed\n"
        "print(Codes(find_installed()).of('method', 'half'))"
    )
    path = os.pathsep.join(map(str, (site, project)))

    def told() -> str:
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = told()
    assert first.startswith("editable ")
    (project / "mine_helper.py").write_text("x = 2\n")
    second = told()
    assert second.startswith("editable ") and second != first
    (info / "direct_url.json").unlink()
    assert told() == "prunebench-mine 0.1.0\n"


def test_bundled_plugins_are_told_apart_by_the_modules_that_they_use() -> None:
    files = code_module.module_files(find_installed().find("method", "low_rank"))
    assert any(name.endswith("_math") or ".shared." in name for name in files) and len(files) > 1
    other = code_module.module_files(find_installed().find("method", "kmeans"))
    assert not set(files) & {name for name in other if "kmeans" in name}


def test_a_plugin_of_this_process_has_no_code() -> None:
    assert Codes(Installed()).of("method", "nothing") == ""
