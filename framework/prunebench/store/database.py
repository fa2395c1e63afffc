"""DuckDB, opened with care: by ATTACH and never by a bare connect, without extensions, migrated by number."""

from __future__ import annotations

import errno
import os
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import NewerDatabase, NotADatabase, StoreError
from prunebench.store.ingest import statements
from prunebench.store.journal import folder_of
from prunebench.writing import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCHEMA = 7
PUBLISHED = "published"  # beside the journals: this database was once written by a merge
CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "preserve_insertion_order": True,
}
_MIXED = """
    select dataset.label, model.label, r.seed, count(distinct r.dense_hash)
    from result as r
    join choice as dataset on dataset.id = r.dataset
    join choice as model on model.id = r.model
    where r.dense_hash is not null and r.status = 'ok' and r.id not in (select superseded.result from superseded)
    group by r.baseline, dataset.label, model.label, r.seed
    having count(distinct r.dense_hash) > 1
    order by all
"""
TABLES = [
    "parameter",
    "run",
    "run_trial",
    "choice",
    "protocol",
    "environment",
    "provenance",
    "baseline",
    "result",
    "superseded",
    "prediction",
    "sample_value",
    "pair",
    "trace",
    "latency",
    "layer",
    "curve",
    "stage",
    "metric",
    "origin",
]
OF_RESULTS = ("prediction", "sample_value", "pair", "trace", "latency", "layer", "curve", "stage", "metric")
REFERENCES = (  # table, column, table that has the number
    ("result", "run", "run"),
    ("result", "dataset", "choice"),
    ("result", "model", "choice"),
    ("result", "method", "choice"),
    ("result", "protocol", "protocol"),
    ("result", "environment", "environment"),
    ("result", "provenance", "provenance"),
    ("result", "baseline", "baseline"),
    ("provenance", "environment", "environment"),
    ("run_trial", "run", "run"),
    ("pair", "dense_result", "result"),
    *((table, "result", "result") for table in OF_RESULTS),
)


def connect(**config: Any) -> DuckDBPyConnection:
    """A connection to an empty database in memory."""
    import duckdb

    return duckdb.connect(":memory:", config=CONFIG | config)


def attach(connection: DuckDBPyConnection, path: Path, name: str, read_only: bool = True) -> None:
    """Attach the file at `path`.

    Raises StoreError where it is held, damaged or something else, OSError where the disk is full.
    """
    import duckdb

    if path.is_dir():
        raise NotADatabase(f"{path}: a folder, not a results database", "name a file with --db")
    if path.exists() and not path.is_file():
        raise NotADatabase(f"{path}: not a regular file, so not a results database", "name a file with --db")
    if "\\" in str(path):  # DuckDB reads it as a folder's end, and finds another file or none
        raise StoreError(f"{path}: a path with a backslash cannot be opened; choose another with --db")
    options = "type duckdb, read_only" if read_only else "type duckdb"
    try:
        connection.execute(f"attach {quoted(str(path))} as {name} ({options})")
    except duckdb.Error as error:
        if "no space left" in str(error).lower():  # a merge waits for another time; nothing is wrong with the file
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise _cause(path, str(error)) from None


class DamagedDatabase(StoreError):
    """A database file that DuckDB cannot read."""


class HeldDatabase(StoreError):
    """A database file that another process holds for writing; `pid` is None where it cannot be told."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(
            f"{path}: held for writing by {f'process {pid}' if pid else 'another process'}; close it there"
        )
        self.pid = pid


def _cause(path: Path, text: str) -> StoreError:
    if "lock" in text and "Conflicting" in text:
        found = re.search(r"PID (\d+)", text)
        return HeldDatabase(path, int(found[1]) if found else None)
    if not is_duckdb(path) and not (folder_of(path) / PUBLISHED).exists():
        return NotADatabase(f"{path}: not a results database")
    if "version" in text and ("newer" in text or "read a database file" in text):
        return NewerDatabase(f"{path}: written by another version of DuckDB; {text.splitlines()[0][:200]}")
    if "Permission denied" in text:
        return StoreError(f"{path}: permission denied")
    return damage(path, text)


def damage(path: Path, text: str) -> DamagedDatabase:
    """What DuckDB says of a file that it cannot read, and what to do about it."""
    return DamagedDatabase(f"{path}: cannot be read ({text.splitlines()[0][:200]}); {_advice(path)}")


def _advice(path: Path) -> str:
    """What to do about a damaged file: only where journals are is everything in it safe."""
    if next(folder_of(path).glob("*.jsonl"), None) or next(folder_of(path).glob("import-*.duckdb"), None):
        return "`bench db rebuild` restores it"
    return "no journal here has its results: copy it again, or let `bench db rebuild` save what can still be read of it"


def is_duckdb(path: Path) -> bool:
    """Whether the file's first bytes are DuckDB's."""
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def schema_of(connection: DuckDBPyConnection, name: str, path: Path) -> int:
    """The schema's version of the attached database; raises where it is newer than this code or no results database."""
    import duckdb

    try:
        row = connection.execute(f"select value from {name}.main.meta where key = 'schema'").fetchone()
    except duckdb.CatalogException:
        row = None
    except duckdb.Error as error:
        raise _cause(path, str(error)) from None
    if row is None:
        raise NotADatabase(f"{path}: a DuckDB file, but not a results database")
    if int(row[0]) > SCHEMA:
        raise NewerDatabase(
            f"{path}: written by a newer prunebench (schema {row[0]}, this one knows {SCHEMA}); upgrade prunebench"
        )
    return int(row[0])


def migrate(connection: DuckDBPyConnection, version: int = 0, upto: int | None = None) -> None:
    """Bring the current schema from `version` (0: empty) to `upto` (by default all), a transaction per step."""
    for number in range(version + 1, (upto or SCHEMA) + 1):
        connection.execute("begin")
        for statement in statements(f"migrations/{number:04}.sql"):
            connection.execute(statement)
        connection.execute(
            "insert into migration values (?, now() at time zone 'UTC', ?)", [number, metadata.version("prunebench")]
        )
        connection.execute("delete from meta where key = 'schema'")
        connection.execute("insert into meta values ('schema', ?)", [str(number)])
        connection.execute("commit")


def set_meta(connection: DuckDBPyConnection, key: str, value: str) -> None:
    """Remember a fact about the file."""
    connection.execute("delete from meta where key = ?", [key])
    connection.execute("insert into meta values (?, ?)", [key, value])


def get_meta(connection: DuckDBPyConnection, key: str) -> str:
    """A fact about the file, empty if unknown."""
    row = connection.execute("select value from meta where key = ?", [key]).fetchone()
    return str(row[0]) if row else ""


def watermarks(connection: DuckDBPyConnection, name: str) -> dict[str, tuple[int, int]]:
    """Journal -> bytes and lines that the attached database holds already."""
    rows = connection.execute(f"select name, byte_count, line_count from {name}.main.journal").fetchall()
    return {journal: (byte_count, line_count) for journal, byte_count, line_count in rows}


def mixed_networks(connection: DuckDBPyConnection) -> list[str]:
    """A line where results of one id have several dense networks; each is compared with its own."""
    rows = connection.execute(_MIXED).fetchall()
    if not rows:
        return []
    dataset, model, seed, count = rows[0]
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return [
        f"{dataset} {model} seed {seed}{more}: results of one id have {count} different dense networks (other threads, "
        "torch or machine); each is compared with its own"
    ]


def result_count(connection: DuckDBPyConnection) -> int:
    """Stored results, every attempt counted."""
    row = connection.execute("select count(*) from result").fetchone()
    return int(row[0]) if row else 0
