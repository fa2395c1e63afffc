"""`bench query`: what it answers, and what it cannot be talked into."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import store_samples as samples
from click.testing import CliRunner, Result
from prunebench.cli.query import command
from prunebench.errors import PruneBenchError, QueryError
from prunebench.store import Store, open_results
from prunebench.store.queries import saved_queries, saved_query
from prunebench.store.sealed_child import Request, answers_to
from prunebench.store.sealed_client import sealed_query

Ask = Callable[..., Result]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published file with an unmerged tail."""
    store = Store(tmp_path_factory.mktemp("query") / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        for seed in range(3):
            for rank in (None, 2, 4, 8):
                journal.append(samples.result(samples.trial(rank, seed)))
        store.merge()
        journal.append(samples.result(samples.trial(16)))
    return store.path


@pytest.fixture
def ask(database: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`bench query …` against it, in this process but for the sealed child."""
    monkeypatch.setenv("PRUNEBENCH_DB", str(database))
    return lambda *arguments, **more: CliRunner().invoke(command, list(arguments), catch_exceptions=False, **more)


def folder_state(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def asked_in_process(database: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The error of a sealed query, without the child's start-up; empty where it was answered."""
    from prunebench.store import sealed_child as sandbox

    monkeypatch.setattr(sandbox, "_limit_process", lambda request: None)
    (answer,) = answers_to(Request(str(database), [sql], seconds=5))
    return answer.error


ATTACKS = {
    "read_csv": "select * from read_csv('$secret')",
    "read_text": "select * from read_text('$secret')",
    "read_blob": "select * from read_blob('$secret')",
    "read_json": "select * from read_json('$secret')",
    "a file as a table": "select * from '$secret'",
    "glob": "select * from glob('$folder/*')",
    "sniff_csv": "select * from sniff_csv('$secret')",
    "parquet_metadata": "select * from parquet_metadata('$secret')",
    "read_duckdb": "select * from read_duckdb('$db')",
    "query()": "select * from query('select * from read_text(''$secret'')')",
    "query_table()": "select * from query_table('$secret')",
    "a macro's file": "with t as (from read_text('$secret')) select * from t",
    "copy to": "copy (select 1) to '$out'",
    "copy from": "copy result from '$secret'",
    "copy in a CTE": "with w as (copy (select 1) to '$out') select * from w",
    "copy over the database": "with w as (copy (select 1) to '$db' (format csv, use_tmp_file false)) select * from w",
    "copy to its log": "with w as (copy (select 1) to '$db.wal' (format csv, use_tmp_file false)) select * from w",
    "explain analyze copy": "explain analyze copy (select 1) to '$out'",
    "prepare": "prepare p as copy (select 1) to '$out'",
    "two statements": "select 1; select 2",
    "a statement after a comment": "select 1; -- x\n copy (select 1) to '$out'",
    "export": "export database '$out'",
    "import": "import database '$folder'",
    "attach": "attach '$other' as other",
    "attach for writing": "attach '$db' as again (read_write)",
    "detach": "detach published",
    "use": "use memory",
    "insert": "insert into journal values ('a', 1, 1)",
    "insert in a CTE": "with w as (insert into published.main.journal values ('a', 1, 1) returning 1) select * from w",
    "update": "update result set seed = 1",
    "delete": "delete from result",
    "delete in a CTE": "with w as (delete from published.main.result returning 1) select * from w",
    "drop": "drop table result",
    "drop view": "drop view trials",
    "alter": "alter table result add column x int",
    "create": "create table x (a int)",
    "create in a CTE": "with w as (create table published.main.x (a int)) select * from w",
    "temp table": "create temp table x (a int)",
    "comment": "comment on table result is 'x'",
    "set variable": "set variable x = 1",
    "begin": "begin",
    "vacuum": "vacuum",
    "checkpoint": "checkpoint",
    "call": "call pragma_version()",
    "pragma": "pragma database_list",
    "install": "install httpfs",
    "load": "load httpfs",
    "http": "select * from 'http://127.0.0.1:9/x.csv'",
    "s3": "select * from 's3://bucket/x.parquet'",
    "quack": "call quack_serve('quack:localhost')",
    "secret": "create secret (type s3)",
    "persistent secret": "create persistent secret x (type s3)",
    "profiling output": "set profiling_output = '$out'",
    "log path": "set log_query_path = '$out'",
    "enable logging": "call enable_logging(storage = 'file', storage_path = '$out')",
    "enable logging by select": "select * from enable_logging('QueryLog', storage => 'file', storage_path => '$out')",
    "unlock": "set lock_configuration = false",
    "external access": "set enable_external_access = true",
    "file systems": "set disabled_filesystems = ''",
    "reset": "reset memory_limit",
    "memory limit": "set memory_limit = '100GB'",
    "limit in a pragma": "pragma memory_limit = '100GB'",
    "home directory": "set home_directory = '$folder'",
    "replacement scan": "select * from database",
    "getenv": "select getenv('HOME')",
    "which_secret": "select * from which_secret('s3://x', 's3')",
    "write_log": "select write_log('x') , * from read_text('$secret')",
    "parquet writer": "select * from write_parquet('$out')",
    "nothing": "",
    "only a comment": "-- nothing",
    "only semicolons": ";;",
}
HARMLESS = {"which_secret"}  # reads nothing but its own empty list


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_denied_and_changes_nothing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret, out, other = tmp_path / "secret.csv", tmp_path / "out", tmp_path / "other.duckdb"
    secret.write_text("a\nthe secret\n")
    sql = ATTACKS[name]
    for word, path in {"secret": secret, "out": out, "other": other, "db": database, "folder": tmp_path}.items():
        sql = sql.replace(f"${word}", str(path))
    before = folder_state(database.parent)
    error = asked_in_process(database, sql, monkeypatch)
    assert error or name in HARMLESS
    assert "the secret" not in error
    assert folder_state(database.parent) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv"]


@pytest.mark.parametrize(
    "sql",
    ["select 1", "from trials", "explain select * from trials", "describe trials", "summarize trials", "show tables",
     "with a as (select 1) select * from a;", "select * from trials -- all", "values (1)",
     "pivot (select method, seed from trials) on seed in (0, 1) using count(*)"],
)  # fmt: skip
def test_what_only_reads_is_answered(database: Path, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    assert asked_in_process(database, sql, monkeypatch) == ""


@pytest.mark.parametrize(
    "sql",
    ["select repeat('x', 4000000000)", "select len(range(1000000000))",
     "select list_reduce(range(300000000), lambda a, b: a + b)",
     "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r",
     "select count(*) from range(100000000) a, range(100000000) b", f"select {'(' * 5000}1{')' * 5000}",
     "select " + " and ".join(["true"] * 50_000)],
    ids=["a string", "a list", "a reduction", "recursion", "a join", "depth", "length"],
)  # fmt: skip
def test_a_query_without_end_or_bottom_is_stopped(database: Path, sql: str) -> None:
    start = time.monotonic()
    try:
        sealed_query(database, sql, seconds=1.5)
        is_stopped = False
    except QueryError as error:
        is_stopped = True
        assert len(str(error).splitlines()[0]) < 400
    assert is_stopped or "true and true" in sql
    assert time.monotonic() - start < 15  # 1.5 s and 2 s of grace on a machine that others use too


def test_a_query_sees_the_tail_and_the_file(ask: Ask) -> None:
    assert ask("select count(*) as n, max(rank) as most from trials", "--json").output == '[{"n": 13, "most": 16}]\n'


def test_a_result_too_long_is_cut_and_says_so(ask: Ask) -> None:
    made = ask("select * from range(100000000)", "--csv", "--limit", "10")
    assert made.stdout.splitlines() == ["range", *map(str, range(10))]
    assert "only the first 10 rows" in made.stderr


def test_the_same_rows_come_in_every_format(ask: Ask, tmp_path: Path) -> None:
    sql = "select method, rank, top1_accuracy, [1, 2] as list, null as nothing from trials order by all limit 2"
    csv = ask(sql, "--csv").output
    assert csv.splitlines()[0] == "method,rank,top1_accuracy,list,nothing"
    rows = json.loads(ask(sql, "--json").output)
    assert rows[0]["list"] == [1, 2]
    markdown = ask(sql, "--markdown").output.splitlines()
    assert markdown[:2] == ["| method | rank | top1_accuracy | list | nothing |", "| --- | --- | --- | --- | --- |"]
    latex = ask(sql, "--latex").output
    assert r"method & rank & top1\_accuracy & list & nothing \\" in latex
    assert ask(sql, "--parquet", "--output", str(tmp_path / "x.parquet")).exit_code == 0
    frame = pl.read_parquet(tmp_path / "x.parquet")
    assert frame["top1_accuracy"].to_list() == [row["top1_accuracy"] for row in rows]
    table = ask(sql).output
    assert "top1_accuracy" in table.splitlines()[0]
    assert len(table.splitlines()) == 3


def test_odd_types_survive_every_format(ask: Ask, tmp_path: Path) -> None:
    sql = (
        "select 1.5::decimal(5, 2) a, date '2026-01-02' b, timestamp '2026-01-02 03:04:05' c, interval 1 day d, "
        "'ab'::blob e, {'x': 1} f, map {'k': 2} g, '101'::bit h, 'nan'::float i, 'inf'::double j, uuid() k, "
        "170141183460469231731687303715884105727::hugeint l, time '10:00' m, true n, now() o"
    )
    for form in ("--csv", "--json", "--markdown", "--latex"):
        assert ask(sql, form).exit_code == 0
    assert ask(sql, "--parquet", "-o", str(tmp_path / "x.parquet")).exit_code == 0
    row = json.loads(ask(sql, "--json").output)[0]
    assert (row["i"], row["j"], row["f"], row["n"], row["e"]) == (None, None, {"x": 1}, True, "6162")


def test_nothing_in_a_cell_reaches_the_terminal_raw(ask: Ask) -> None:
    evil = "select chr(27) || '[31m' || chr(7) || chr(0) || chr(8238) || chr(10) || chr(155) || 'x' as \"a\x1b[1m\""
    for form in ([], ["--markdown"], ["--latex"], ["--json"]):
        output = ask(evil, *form).output
        assert not set(output) & set("\x1b\x07\x00\u202e\x9b"), form
    assert r"\x1b[31m\x07\x00\u202e\n\x9bx" in ask(evil).output


def test_columns_of_one_name_are_told_apart_in_json(ask: Ask) -> None:
    assert json.loads(ask("select 1 as a, 2 as a, 3 as a_2", "--json").output) == [{"a": 1, "a_2": 2, "a_2_2": 3}]


def test_equal_names_are_told_apart_alike_in_parquet_and_python(ask: Ask, database: Path, tmp_path: Path) -> None:
    sql, names = "select 1 as a, 2 as A, 3 as a", ["a", "A_2", "a_3"]
    assert ask(sql, "-o", str(tmp_path / "x.parquet")).exit_code == 0
    assert pl.read_parquet(tmp_path / "x.parquet").columns == names
    assert ask(sql, "--csv").output.splitlines()[0].split(",") == ask(sql).output.split()[:3] == names
    with open_results(database) as results:
        assert results.query(sql).columns == names


def test_a_file_has_the_format_of_its_ending(ask: Ask, tmp_path: Path) -> None:
    sql = "select method_label as m, params from trials limit 1"
    begins = {"csv": b"m,params", "json": b"[{", "md": b"| m |", "tex": b"\\begin{tabular}", "parquet": b"PAR1"}
    for ending, start in begins.items():
        file = tmp_path / f"x.{ending}"
        assert ask(sql, "-o", str(file)).exit_code == 0
        assert file.read_bytes().startswith(start), ending
    assert pl.read_parquet(tmp_path / "x.parquet").schema["params"] == pl.String


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--csv", "--json"], "one format at a time: --csv and --json are given"),
        (["--csv", "-o", "x.parquet"], "the ending says parquet, --csv says csv"),
        (["-o", "x.xlsx"], "no format has the ending .xlsx; give one of .csv"),
    ],
)
def test_two_formats_or_an_unknown_one_are_refused(ask: Ask, options: list[str], said: str) -> None:
    answer = ask("select 1 as a", *options)
    assert answer.exit_code != 0 and said in answer.stderr


def test_sql_comes_from_an_argument_a_file_or_standard_input(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("select 42 as n")
    assert ask("--file", str(tmp_path / "q.sql"), "--csv").output == "n\n42\n"
    assert ask("--csv", input="select 43 as n").output == "n\n43\n"
    assert ask("-", "--csv", input="select 44 as n").output == "n\n44\n"
    assert "give the SQL once" in ask("select 1", "--saved", "pareto").stderr
    assert "cannot be read" in ask("--file", str(tmp_path / "none.sql")).stderr


@pytest.mark.parametrize("name", saved_queries())
def test_every_saved_query_answers(ask: Ask, name: str) -> None:
    assert ask("--saved", name, "--csv").exit_code == 0
    assert saved_queries()[name].endswith(".")


def test_a_saved_query_that_is_not_there_names_the_others() -> None:
    with pytest.raises(QueryError, match=r"no saved query 'paretto', did you mean 'pareto'.*failures"):
        saved_query("paretto")


def test_wrong_sql_is_the_message_of_duckdb(database: Path) -> None:
    with pytest.raises(QueryError, match="nope"):
        sealed_query(database, "select nope from trials")


def test_a_database_that_is_not_there_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(PruneBenchError, match="no results yet"):
        sealed_query(tmp_path / "none.duckdb", "select 1")


def test_a_query_never_imports_from_the_folder_it_is_asked_in(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "duckdb.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert sealed_query(database, "select 1 as a").rows == [[1]]


def test_the_child_of_a_query_imports_nothing_heavy(database: Path) -> None:
    request = f"Request({str(database)!r}, ['select count(*) from trials'], '', 10, 30.0, parquet=False)"
    code = (
        "import sys\nfrom prunebench.store.sealed_child import Request, answers_to\n"
        f"assert not answers_to({request})[0].error\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    imported = set(ran.stdout.split())
    assert "duckdb" in imported
    assert not {"torch", "polars", "altair", "click", "rich", "pluggy"} & imported
