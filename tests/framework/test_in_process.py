"""`bench run --trial ID --in-process`: one trial here, with prints and tracebacks, and nothing stored unless asked."""

from __future__ import annotations

import json

import pytest
from prunebench.cli import main
from prunebench.store import open_results

PLUGIN = '''
from dataclasses import dataclass
from prunebench import Method, hookimpl, param

@dataclass(frozen=True)
class Talks(Method):
    """Prints, and fails where it is told to."""
    name = "talks"
    fails: bool = param(False, "whether it raises")

    def prune(self, network, task):
        print("I was called")
        if self.fails:
            return deep({})
        return network

def deep(table):
    return table["no such key"]

@hookimpl
def methods(): return [Talks]
'''

GRID = """
name = "talk"
[protocol]
train = { epochs = 0 }
latency = { batch = [] }
calibration = 8
evaluation_limit = 16
[[block]]
dataset = "digits"
model = "lenet5"
seed = 0
method = [{ use = "talks", fails = [false, true] }]
"""


@pytest.fixture
def place(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks.py").write_text(PLUGIN)
    (tmp_path / "g.toml").write_text(GRID)
    assert call("plan", "--json", *OPTIONS) == 0
    return {row["method"]: row["trial_id"] for row in json.loads(capfd.readouterr().out)["list"]}


OPTIONS = ("-g", "g.toml", "--plugin", "talks.py", "--db", "r.duckdb")


def call(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(args))
    return int(end.value.code or 0)


def test_prints_and_a_traceback_to_the_line_are_seen_and_nothing_is_kept(place, tmp_path, capfd):
    good, bad = place["talks(fails=False)"], place["talks(fails=True)"]
    assert call("run", *OPTIONS, "--trial", good[:10], "--in-process") == 0
    out, _ = capfd.readouterr()
    assert "I was called" in out and "status ok" in out and "not stored" in out
    assert call("run", *OPTIONS, "--trial", bad, "--in-process", "--json") == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["reason"].startswith("KeyError") and "I was called" in err
    assert 'return table["no such key"]' in err and "talks.py" in err
    assert not (tmp_path / "r.duckdb").exists()


def test_what_is_kept_on_request_is_shown_with_its_traceback(place, tmp_path, capfd):
    bad = place["talks(fails=True)"]
    assert call("run", *OPTIONS, "--trial", bad, "--in-process", "--keep") == 1
    with open_results(tmp_path / "r.duckdb") as results:
        assert results.query("select status from failures").rows() == [("failed",)]
    capfd.readouterr()
    assert call("show", bad, "--db", "r.duckdb") == 0
    assert 'return table["no such key"]' in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--in-process",), "needs --trial"),
        (("--trial", "a"), "for --in-process"),
        (("--in-process", "--trial", "zz"), "bench plan --all"),
    ],
)
def test_a_call_that_names_no_trial_is_refused_in_a_line(place, options, why, capfd):
    assert call("run", *OPTIONS, *options) == 2
    assert why in capfd.readouterr().err
