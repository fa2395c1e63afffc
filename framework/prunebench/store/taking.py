"""Results of another database, taken over whole: a copy of its file is kept among the journals, as their equal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import NotADatabase, StoreError
from prunebench.store import database as db
from prunebench.store.ingest import joined_kind, mark_superseded, statements
from prunebench.store.journal import folder_of, journals_of
from prunebench.store.publish import is_published_here, merge_lock, set_aside
from prunebench.store.recovery import write_count
from prunebench.writing import file_sha256, quoted, quoted_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from prunebench.store.merger import Merger, MergeReport
    from prunebench.store.store import Store


# The tables that many results share and that refer to nothing else, with the column by which rows are the same.
SHARED = {
    "protocol": "protocol_id",
    "environment": "environment_id",
    "baseline": "dense_id",
    "choice": "hash",
    "run": "run_id",
}
# The tables whose rows belong to one result and refer to nothing else.
PARTS = ("prediction", "sample_value", "trace", "layer", "curve", "stage", "metric")


@dataclass(frozen=True)
class Imported:
    """What `import_results` did: files put among the journals, and the merge that followed."""

    files: tuple[str, ...]
    report: MergeReport


def import_results(store: Store, other: Path) -> Imported:
    """Take over every result of the database at `other`, its journals' tails included; a second time adds nothing."""
    if not other.exists():
        raise StoreError(f"{other}: no such file; give another database's path")
    if store.path.exists() and other.samefile(store.path):
        raise StoreError(f"{other}: this is the database itself; give another one's path")
    require_database(other)
    with merge_lock(store.path, wait_seconds=10):
        files = [*take_copy(store.folder, other, file_sha256(other)), *_take_journals(store, other)]
    return Imported(tuple(files), store.merge(wait_seconds=10))


def keep_what_no_journal_holds(store: Merger) -> str:
    """Copy the published file among the journals where it holds runs that no journal and no import of this folder has.

    A file that was put here by hand, as one that was given away: until now it was the only place of its results.
    The name of the copy; empty where there is nothing to keep. Raises `DamagedDatabase` where it cannot be read whole.
    """
    if not store.path.exists() or is_published_here(store.path):
        return ""
    connection = db.connect(threads=1)
    try:
        db.attach(connection, store.path, "other")
        db.schema_of(connection, "other", store.path)
        runs = connection.execute(
            "select run_id from other.main.run where id in (select run from other.main.result)"
        ).fetchall()
        merged = db.watermarks(connection, "other")
    finally:
        connection.close()
    has_imports = {path.name for path in imports_of(store.path)} & merged.keys()
    missing = [run for (run,) in runs if not (store.folder / f"{run}.jsonl").exists()]
    if has_imports or not missing:
        return ""
    require_whole(store.path)
    return "".join(take_copy(store.folder, store.path, file_sha256(store.path)))


def replace_damaged_copies(store: Merger) -> list[str]:
    """Where a copy among the journals is damaged and the sound published file has taken it in: a copy of that instead.

    A line for each that was moved aside.
    """
    connection = db.connect(threads=1)
    try:
        db.attach(connection, store.path, "other")
        merged = db.watermarks(connection, "other")
    finally:
        connection.close()
    damaged = [path for path in imports_of(store.path) if path.name in merged and not _is_whole(path)]
    if not damaged:
        return []
    kept = "".join(take_copy(store.folder, store.path, file_sha256(store.path)))
    said = f"a copy of the database, which has it all, is kept as {kept}"
    return [f"{path}: damaged, moved to {set_aside(path, 'corrupt').name}; {said}" for path in damaged]


def _is_whole(path: Path) -> bool:
    try:
        require_whole(path)
    except db.DamagedDatabase:
        return False
    return True


def imports_of(database: Path) -> list[Path]:
    """The databases that were taken over, by name."""
    return sorted(folder_of(database).glob("import-*.duckdb"))


def import_database(connection: DuckDBPyConnection, path: Path) -> None:
    """Add the results of `path` that the current database lacks, and remember the file as merged."""
    require_whole(path)
    migrate_copy(path)
    db.attach(connection, path, "other")
    connection.execute("begin")
    for statement in statements("import.sql"):
        for one in _each(statement):
            connection.execute(one)
    mark_superseded(connection, "select ours from result_of where is_new")
    _add_parameters(connection)
    connection.execute("insert into journal values (?, ?, 0)", [path.name, path.stat().st_size])
    connection.execute("commit")
    for table in (*SHARED, "provenance", "result"):
        connection.execute(f"drop table temp.{table}_of")
    connection.execute("detach other")


def _each(statement: str) -> Iterator[str]:
    """The statement once, or once per table where it speaks of `$shared` or `$part`."""
    if "$shared" in statement:
        yield from (statement.replace("$shared", table).replace("$key", key) for table, key in SHARED.items())
    elif "$part" in statement:
        yield from (statement.replace("$part", part) for part in PARTS)
    else:
        yield statement


def require_database(other: Path) -> None:
    """Raise where `other`, a file to import from, is no results database, or a newer one."""
    connection = db.connect()
    try:
        db.attach(connection, other, "other")
        db.schema_of(connection, "other", other)
    except NotADatabase as error:
        what = str(error).rpartition("; ")[0]  # `--db` names the other database, not this file
        raise NotADatabase(f"{what}; nothing is imported") from None
    finally:
        connection.close()


def require_whole(path: Path) -> None:
    """Read every byte of every table, once; raises `DamagedDatabase` where that fails."""
    import duckdb

    connection = db.connect(threads=1)
    try:
        db.attach(connection, path, "other")
        tables = "select table_name from duckdb_tables() where database_name = 'other' and not temporary"
        for (table,) in connection.execute(tables).fetchall():
            connection.execute(f"select bit_xor(hash(row)) from other.main.{quoted_name(table)} as row").fetchall()
    except duckdb.Error as error:
        raise db.DamagedDatabase(f"{path}: cannot be read ({str(error).splitlines()[0][:200]})") from None
    finally:
        connection.close()


def take_copy(folder: Path, other: Path, content: str) -> list[str]:
    """Copy the file among the journals under its content's hash, so that the same is taken once; the name, if new."""
    target = folder / f"import-{content[:16]}.duckdb"
    if target.exists():
        return []
    partial = target.with_suffix(".partial")
    shutil.copyfile(other, partial)
    write_count(target, _result_count(partial))
    partial.rename(target)
    return [target.name]


def _result_count(path: Path) -> int:
    connection = db.connect(threads=1)
    try:
        db.attach(connection, path, "other")
        connection.execute("use other")
        return db.result_count(connection)
    finally:
        connection.close()


def journals_ahead(other: Path) -> list[Path]:
    """The journals that the database has not merged whole."""
    connection = db.connect()
    try:
        db.attach(connection, other, "other")
        marks = db.watermarks(connection, "other")
    finally:
        connection.close()
    return [path for path in journals_of(other) if path.stat().st_size > marks.get(path.name, (0, 0))[0]]


def _take_journals(store: Store, other: Path) -> list[str]:
    """Copy the journals that the other database has not merged whole."""
    new = [path for path in journals_ahead(other) if not (store.folder / path.name).exists()]
    for path in new:
        shutil.copyfile(path, store.folder / path.name)
    return [path.name for path in new]


def migrate_copy(path: Path) -> None:
    """Bring our copy of an older database up to date."""
    connection = db.connect()
    try:
        db.attach(connection, path, "other")
        version = db.schema_of(connection, "other", path)
        if version == db.SCHEMA:
            return
        connection.execute("detach other")
        path.chmod(0o644)
        db.attach(connection, path, "other", read_only=False)
        connection.execute("use other")
        db.migrate(connection, version)
    finally:
        connection.close()


def _add_parameters(connection: DuckDBPyConnection) -> None:
    ours = dict(connection.execute("select name, kind from parameter").fetchall())
    for name, kind in connection.execute("select name, kind from other.main.parameter").fetchall():
        joined = joined_kind({kind, ours.get(name, kind)})
        if joined != ours.get(name):
            connection.execute(f"delete from parameter where name = {quoted(name)}")
            connection.execute("insert into parameter values (?, ?)", [name, joined])
