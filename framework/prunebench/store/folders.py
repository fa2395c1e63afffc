"""Results as a folder of Parquet tables that another database can take in whole: written, checked, read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import NewerDatabase, StoreError
from prunebench.store import database as db
from prunebench.store.catalog import open_catalog
from prunebench.store.ingest import mark_superseded
from prunebench.store.parquet import write_parquet
from prunebench.store.views import build_views
from prunebench.writing import file_sha256, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MANIFEST = "manifest.json"
FORMAT = "prunebench results"
VERSION = 1  # of the folder's layout; the schema of the tables is apart
TABLES = tuple(name for name in db.TABLES if name != "superseded")  # which attempts stand is decided where they meet
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def write_tables(database: Path, folder: Path, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Write the runs' results, with the dense networks they are compared with, as `folder`/tables/*.parquet.

    Returns each file with its rows. Without `runs`, everything is written.
    """
    connection = db.connect()
    try:
        open_catalog(connection, database)
        connection.execute("create temp table asked as select id from run where run_id in (select unnest(?))", [runs])
        if not runs:
            connection.execute("insert into temp.asked select id from run")
        connection.execute(_CHOSEN)
        (folder / "tables").mkdir()
        return [_write_table(connection, table, folder) for table in TABLES]
    finally:
        connection.close()


_CHOSEN = """
    create temp table chosen as
    with wanted as (
        select id, baseline from result
        where run in (select id from temp.asked)
            or trial_id in (select trial_id from run_trial where run in (select id from temp.asked))
    )
    select id from wanted
    union
    select id from result where is_dense and baseline in (select baseline from wanted)
"""
_DROPPED, _NAMED = ("db", "data-dir", "address"), "grid|plugin"  # options of a command that name places
_OF_CHOSEN = "(select {0} from result where id in (from temp.chosen))"


def _without_places() -> str:
    """The column `command` without what says nothing to others and much about the publisher's machine.

    Databases, data and addresses go; of a grid's or plugin's file the name stays.
    """
    told = r"regexp_replace(command, '^\S*/', '')"
    for option in _DROPPED:
        told = rf"regexp_replace({told}, ' --{option}[ =].*?( --|$)', '\1')"
    return rf"regexp_replace({told}, '( --(?:{_NAMED})[ =])/(?:[^ ]| [^-])*/', '\1', 'g')"


def _condition(table: str) -> str:
    """Which rows of the table belong to the chosen results."""
    match table:
        case "parameter":
            return "true"
        case "result":
            return "id in (from temp.chosen)"
        case "run":
            return f"id in (from temp.asked) or id in {_OF_CHOSEN.format('run')}"
        case "run_trial":
            return "run in (from temp.asked)"
        case "origin":
            return f"run in (from temp.asked) or run in {_OF_CHOSEN.format('run')}"
        case "choice":
            return " or ".join(f"id in {_OF_CHOSEN.format(column)}" for column in ("dataset", "model", "method"))
        case "environment":
            of_provenance = f"(select environment from provenance where id in {_OF_CHOSEN.format('provenance')})"
            return f"id in {_OF_CHOSEN.format('environment')} or id in {of_provenance}"
        case "protocol" | "provenance" | "baseline":
            return f"id in {_OF_CHOSEN.format(table)}"
        case _:
            return "result in (from temp.chosen)"


def _write_table(connection: DuckDBPyConnection, table: str, folder: Path) -> dict[str, Any]:
    name = f"tables/{table}.parquet"
    shown = f"* replace ({_without_places()} as command)" if table == "run" else "*"
    sql = f"select {shown} from {table} where {_condition(table)}"
    return {"file": name, "rows": write_parquet(connection, sql, folder / name, "order by all").row_count}


def manifest_of(folder: Path, facts: dict[str, Any], rows: dict[str, int]) -> dict[str, Any]:
    """The manifest: what the folder is, and each of its files with size and hash; `rows` of those that have some."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return {
        "format": FORMAT,
        "version": VERSION,
        "schema": db.SCHEMA,
        "prunebench": metadata.version("prunebench"),
        **facts,
        "files": [_entry(path, folder, rows) for path in files],
    }


def _entry(path: Path, folder: Path, rows: dict[str, int]) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    entry = {"file": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
    return entry | ({"rows": rows[name]} if name in rows else {})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest, held to its files; raises StoreError for the first thing that is not as it says."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{folder}: no {MANIFEST}: not a published folder, or copied in part") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise StoreError(f"{path}: not the manifest of published results (no format {FORMAT!r})")
    for key, known in (("version", VERSION), ("schema", db.SCHEMA)):
        if not isinstance(manifest.get(key), int) or manifest[key] < 1:
            raise StoreError(f"{path}: {key} is not a number")
        if manifest[key] > known:
            raise NewerDatabase(
                f"{folder}: published by a newer prunebench ({key} {manifest[key]}, this one knows {known}); "
                "upgrade prunebench"
            )
    _check_files(folder, manifest.get("files"))
    return manifest


def _check_files(folder: Path, files: Any) -> None:
    if not isinstance(files, list) or not all(isinstance(entry, dict) for entry in files):
        raise StoreError(f"{folder / MANIFEST}: files is not a list of tables")
    for entry in files:
        name = entry.get("file")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 200:
            raise StoreError(f"{folder / MANIFEST}: {str(name)[:60]!r} is not the name of a file in this folder")
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise StoreError(f"{folder}: {name} is missing: the folder is incomplete, copy it again")
        if path.stat().st_size != entry.get("bytes") or file_sha256(path) != entry.get("sha256"):
            raise StoreError(f"{folder}: {name} is not the file that was published: changed, or copied in part")
    listed = {entry["file"] for entry in files}
    if missing := [table for table in TABLES if f"tables/{table}.parquet" not in listed and table != "origin"]:
        raise StoreError(f"{folder / MANIFEST}: lists no tables/{missing[0]}.parquet")


def build_database(folder: Path, schema: int, target: Path) -> None:
    """Make the database file `target` from the folder's tables; raises StoreError for what is no sound result."""
    import duckdb

    connection = db.connect()
    try:
        db.attach(connection, target, "made", read_only=False)
        connection.execute("use made")
        db.migrate(connection, upto=schema)
        for table in TABLES:
            _read_table(connection, table, folder / "tables" / f"{table}.parquet")
        db.migrate(connection, schema)
        for fault in _faults(connection):
            raise StoreError(f"{folder}: {fault}")
        mark_superseded(connection)
        build_views(connection)
    except duckdb.Error as error:
        raise StoreError(f"{folder}: {_said(error)}") from None
    finally:
        connection.close()


def _read_table(connection: DuckDBPyConnection, table: str, path: Path) -> None:
    """Add the file's rows to the table; a table that came with a later schema may have no file."""
    if not path.exists() or not _has_table(connection, table):
        return
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise StoreError(f"{path.parent.parent}: {path.parent.name}/{path.name} is not Parquet")
    connection.execute("begin")
    connection.execute(f"insert into {table} by name select * from read_parquet({quoted(str(path))})")
    connection.execute("commit")


def _has_table(connection: DuckDBPyConnection, table: str) -> bool:
    sql = "select count(*) from duckdb_tables() where database_name = 'made' and table_name = ?"
    return connection.execute(sql, [table]).fetchone() == (1,)


def _faults(connection: DuckDBPyConnection) -> Iterator[str]:
    """What is wrong with the tables as a whole, a line each."""
    for table, column, other in db.REFERENCES:
        sql = f"select count(*) from {table} where {column} not in (select id from {other})"
        if count := _count(connection, sql):
            yield f"{count} rows of {table} name a {column} that is not in {other}"
    keys = {"run": "run_id", "choice": "hash", "protocol": "protocol_id", "environment": "environment_id",
            "provenance": "provenance_id", "baseline": "dense_id", "result": "trial_id, run, attempt"}  # fmt: skip
    for table, key in keys.items():
        for columns in {key, "id"}:
            if count := _count(
                connection, f"select count(*) from (from {table} select 1 group by {columns} having count(*) > 1)"
            ):
                yield f"{count} rows of {table} are there twice ({columns})"
    shares = ("top1_accuracy", "top5_accuracy", "top1_accuracy_before_finetune")
    outside = " or ".join(f"not (coalesce({name}, 0) between 0 and 1)" for name in shares)
    if count := _count(connection, f"select count(*) from result where {outside}"):
        yield f"{count} results have an accuracy that is not in [0, 1]"
    statuses = "('ok', 'skipped', 'failed', 'timeout', 'killed', 'oom')"
    if count := _count(connection, f"select count(*) from result where status not in {statuses}"):
        yield f"{count} results have an unknown status"


def _count(connection: DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
