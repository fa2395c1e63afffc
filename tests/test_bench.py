"""`bench` as a person runs it: a small real grid, once, and then everything that can be asked of it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import prunebench
import pytest
from prunebench.cli.run import _close
from prunebench.engine.session import Outcome

GRID = """
name = "small"
[protocol]
train = { epochs = 3, batch_size = 64, lr = 2e-3 }
latency = { batch = [8], max_seconds = 0.1, groups = 4 }
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = [{ use = "magnitude", keep = [0.5, 0.2] }, { use = "low_rank", rank = 500 }]
"""


def bench(*words: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "prunebench", *words], cwd=cwd, capture_output=True, text=True, timeout=240, **options
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "small.toml").write_text(GRID)
    ended = bench("run", "--grid", "small.toml", cwd=folder)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    (folder / "first.txt").write_text(ended.stdout)
    return folder


def test_a_run_ends_with_a_table_the_database_and_the_report(folder):
    said = (folder / "first.txt").read_text()
    assert "small: 4 trials, 0 done, 4 to run" in said and "3 ok, 1 skipped" in said
    report = folder / said.split("report: ")[1].splitlines()[0].strip()
    assert report.exists() and "<html" in report.read_text()[:500].lower()


def test_a_second_call_finds_everything_done_and_says_so(folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = bench("run", "--grid", "small.toml", cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 0 and "everything is done" in ended.stdout
    assert after.ru_utime - before.ru_utime < 2, "torch must stay asleep"


def test_the_results_are_there_for_python(folder):
    results = prunebench.open_results(folder / "runs" / "results.duckdb")
    frame = results.query("select status, method, top1_accuracy, rank from trials order by method, status")
    assert frame["status"].to_list() == ["ok", "skipped", "ok", "ok"]
    assert frame.filter(frame["method"] == "low_rank")["rank"].to_list() == [500]


def test_a_declined_cell_says_why(folder):
    results = prunebench.open_results(folder / "runs" / "results.duckdb")
    (reason,) = results.query("select reason from trials where status = 'skipped'")["reason"].to_list()
    assert "saves nothing here: break-even is 104" in reason


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--grid", "small.toml", "--json"),
        ("run", "--grid", "small.toml", "--json"),
        ("runs", "--json"),
        ("plugins", "--json"),
        ("query", "select count(*) as n from trials", "--json"),
    ],
)
def test_a_program_reads_json(folder, words):
    ended = bench(*words, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)


def test_plan_counts_and_runs_nothing(folder):
    facts = json.loads(bench("plan", "--grid", "small.toml", "--json", cwd=folder).stdout)
    assert (facts["trials"], facts["to_run"], facts["statuses"]) == (4, 0, {"ok": 3, "skipped": 1})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "--grid", "absent.toml"), "no grid file at absent.toml"),
        (("run", "--grid", "rohlicek-202"), "no grid file and no paper 'rohlicek-202'"),
        (("run", "--grid", "small.toml", "--db", "/proc/none/x.duckdb"), "cannot be written"),
        (("run", "--grid", "small.toml", "--devices", "cuda:97", "--db", "new/x.duckdb"), "cuda:97"),
        (("run", "--grid", "small.toml", "--devices", "cpu,cpu", "--db", "new/x.duckdb"), "cpu"),
        (("run", "--grid", "small.toml", "--plugin", "nothing.py"), "nothing.py cannot be read"),
        (("run", "--grid", "small.toml", "--timeout", "soon"), "--timeout must be a duration"),
        (("rum",), "no command 'rum', did you mean 'run'?"),
        (("query", "select * from trails"), "trails"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, words, line):
    ended = bench(*words, cwd=folder)
    assert ended.returncode == 2 and line in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (folder / "new").exists()


def test_help_wakes_nothing_heavy():
    code = (
        "import sys, prunebench.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'duckdb', 'polars', 'altair', 'rich', 'numpy', 'pluggy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path):
    import signal

    (tmp_path / "long.toml").write_text(GRID.replace("[0.5, 0.2]", "{ linspace = [0.1, 0.9, 40] }"))
    process = subprocess.Popen(
        [sys.executable, "-m", "prunebench", "run", "--grid", "long.toml", "--no-report"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    seen = 0
    with process.stdout:
        for line in process.stdout:
            seen += "magnitude" in line
            if seen == 2:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.wait(60) == 130 and "again to continue" in rest
    facts = json.loads(bench("plan", "--grid", "long.toml", "--json", cwd=tmp_path).stdout)
    assert 3 <= facts["trials"] - facts["to_run"] < facts["trials"]


def test_a_report_that_cannot_be_written_hides_no_results(tmp_path):
    """As where the disk is full."""
    (tmp_path / "small.toml").write_text(GRID.replace("[0.5, 0.2]", "[0.5]"))
    code = (
        "import prunebench.report as report\n"
        "from prunebench.errors import PruneBenchError\n"
        "def full(*_, **__): raise PruneBenchError('report.html: cannot be written: No space left on device')\n"
        "report.write_report = full\n"
        "from prunebench.cli import main; main(['run', '--grid', 'small.toml'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert (ended.returncode, "2 ok, 1 skipped" in ended.stdout) == (0, True), ended.stderr
    assert "bench: no report: report.html: cannot be written: No space left on device" in ended.stderr


def test_without_polars_a_run_ends_with_a_line_in_place_of_its_table(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "polars", None)
    outcome = Outcome("grid", tmp_path / "results.duckdb", 1, 0, run_id="run", statuses={"ok": 1}, seconds=2.0)
    _close(outcome, as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "no closing table: it needs polars (pip install polars)"
    assert said[1].startswith("1 ok in 2 s; results in ")
