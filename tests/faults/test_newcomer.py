"""Every verb in the hands of somebody who got something wrong: a line, exit code 2, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import store_samples as samples
from numbered import Bench
from prunebench.cli import VERBS
from prunebench.store import Store

WORDS = {
    "plan": ["--grid", "grid.toml"], "watch": ["--once"], "runs": [], "show": ["abc"], "query": ["select 1"],
    "report": [], "save": ["abc", "-o", "net.pt2"], "repro": ["abc"],
    "publish": ["-o", "out"], "join": ["other.duckdb"],
    "chart": ["latency"], "claims": ["small"], "compare": ["a", "b"], "audit": ["small"], "export": ["out"],
    "merge": ["other.duckdb"], "db": ["check"], "doctor": ["--no-noise"], "run": ["--grid", "grid.toml", "--no-report"],
}  # fmt: skip
WITHOUT_DATABASE = {"papers", "plugins", "new", "check", "ledger"}
GRID = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nseed = 0\nmethod = "dense"\n'


def test_every_verb_is_tried() -> None:
    assert set(WORDS) | WITHOUT_DATABASE == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_or_too_many_words_is_a_usage_line(bench: Bench, verb: str) -> None:
    for words in (["--nonsense"], ["a", "b", "c", "d", "e"]):
        said = bench(verb, *words)
        assert said.code == 2 and "Usage: bench" in said.err + said.out


@pytest.mark.parametrize("verb", WORDS)
def test_a_database_that_is_none_is_one_line(bench: Bench, tmp_path: Path, verb: str) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "text.duckdb").write_text("hello")
    (tmp_path / "empty.duckdb").touch()
    (tmp_path / "folder.duckdb").mkdir()
    for name in ("text", "empty", "folder", "absent"):
        if (verb, name) == ("run", "absent"):
            continue  # which is how a database begins
        said = bench(verb, *WORDS[verb], "--db", f"{name}.duckdb")
        expected = (0,) if name == "absent" and verb in ("plan", "doctor") else (1, 2)
        assert said.code in expected, (name, said)
        assert said.err.count("\n") <= 1
    assert (tmp_path / "text.duckdb").read_text() == "hello"
    assert (tmp_path / "empty.duckdb").stat().st_size == 0


def test_where_nothing_can_be_written_a_line_says_so(bench: Bench, tmp_path: Path) -> None:
    with Store(tmp_path / "r.duckdb").open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    for words in (
        ["report", "-o", "/proc/x/y.html"],
        ["chart", "accuracy_compression", "-o", "/proc/x.json"],
        ["chart", "accuracy_compression", "-o", "x.bmp"],
        ["export", "/proc/x"],
        ["query", "select 1", "-o", "/proc/x"],
    ):
        said = bench(*words, "--db", "r.duckdb")
        assert said.code == 2, words
        assert said.err.splitlines()[-1].startswith(("bench: ", "Error: ")), said.err


def test_nothing_is_left_over_when_the_interpreter_ends(tmp_path: Path) -> None:
    """DuckDB's binding tells of connections and relations that outlive it."""
    with Store(tmp_path / "r.duckdb").open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    code = (
        "import sys; from prunebench.store import open_results\n"
        "results = open_results(sys.argv[1]); frame = results.query('select * from trials'); print(len(frame))\n"
        "from prunebench.cli import main; main(['runs', '--db', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", code, "r.duckdb"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1\n")


def test_a_pipe_gets_no_colour(bench: Bench, tmp_path: Path) -> None:
    with Store(tmp_path / "r.duckdb").open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    for words in (["runs"], ["plugins"], ["query", "select * from trials"]):
        said = bench(*words, *([] if words == ["plugins"] else ["--db", "r.duckdb"]))
        assert said.code == 0 and "\x1b" not in said.out


def test_an_early_ctrl_c_is_no_traceback_of_half_done_imports(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nx = 1\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    call = [sys.executable, "-c", "from prunebench.__main__ import main; main()", "papers"]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert (done.returncode, done.stderr) == (130, "bench: interrupted\n")


@pytest.mark.parametrize("then", ["raise AttributeError('half a module')", "raise SystemExit(2)", "pass"])
def test_what_fails_after_a_ctrl_c_that_was_swallowed_was_interrupted(then: str) -> None:
    """As numpy's import is, when torch asks whether it is there."""
    code = (
        "import os, signal, prunebench.cli\n"
        "def half():\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        f"    except KeyboardInterrupt: {then}\n"
        "prunebench.cli.main = half\n"
        "from prunebench.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = (0, "") if then == "pass" else (130, "bench: interrupted\n")
    assert (done.returncode, done.stderr) == expected


def test_the_doctor_ends_at_once_also_where_torch_would_abort(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nos.abort()\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    call = [sys.executable, "-m", "prunebench", "doctor", "--no-noise", "--db", str(tmp_path / "r.duckdb")]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert (done.returncode, done.stderr) == (130, "bench: interrupted\n")


def test_a_caller_that_has_ctrl_c_ignored_is_obeyed() -> None:
    """As `bench … &` in a script has it."""
    code = (
        "import os, signal, prunebench.cli\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "prunebench.cli.main = lambda: print('kept', os.kill(os.getpid(), signal.SIGINT))\n"
        "from prunebench.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "kept None\n", "")


def test_a_single_block_is_told_the_right_spelling(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID.replace("[[block]]", "[block]"))
    said = bench("plan", "--grid", "grid.toml")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "write [[block]]" in said.err


def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m prunebench"
    for words in ("run --grid quickstart", "doctor", "plugins"):
        done = subprocess.run(["bash", "-c", f"{command} {words}"], capture_output=True, text=True, cwd=tmp_path)
        line = "bench: the folder you are in is gone: cd to one that exists\n"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", line), words
