"""What could be wrong with a database and its journals, looked at whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import NewerDatabase, NotADatabase, StoreError
from prunebench.store import database as db
from prunebench.store.journal import read_tails, strangers_of
from prunebench.store.publish import unread_beside
from prunebench.store.recovery import loss_of
from prunebench.store.taking import imports_of, require_whole

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHILDREN = ("prediction", "sample_value", "pair", "trace", "latency", "layer", "curve", "stage", "metric", "superseded")


def faults(database: Path, journals: list[Path]) -> Iterator[str]:
    """A line for everything that is not as it should be; reads every byte.

    Raises `NotADatabase` or `NewerDatabase` where the file is not one of ours to look at.
    """
    acknowledged = {path.name: set(_keys(path)) for path in journals}
    yield from (fault for path in journals for fault in _journal_faults(path))
    yield from (f"{path}: not a regular file, so not a journal: it is not read" for path in strangers_of(database))
    yield from (_loss(path) for path in unread_beside(database))
    yield from _copy_faults(database)
    if not database.exists():
        yield f"{database}: does not exist yet; the next merge writes it"
        return
    connection = db.connect()
    try:
        db.attach(connection, database, "published")
        db.schema_of(connection, "published", database)
        connection.execute("use published")
        yield from _table_faults(connection, database)
        yield from _lost(connection, acknowledged)
    except (NotADatabase, NewerDatabase):
        raise
    except StoreError as error:
        yield str(error)
    finally:
        connection.close()


def _loss(unread: Path) -> str:
    """What was lost with a file that was set aside; remembered beside it when that happened."""
    try:
        return f"{unread}: {loss_of(unread).read_text(encoding='utf-8').strip()}"
    except OSError:
        return f"{unread}: could not be read; results that it alone held are lost"


def _copy_faults(database: Path) -> Iterator[str]:
    """Damage of the databases that were taken over: harmless until the database has to be built anew from them."""
    for path in imports_of(database):
        try:
            require_whole(path)
        except StoreError as error:
            yield f"{error}; `bench db rebuild` saves what the database and it have"


def _journal_faults(path: Path) -> Iterator[str]:
    for tail in read_tails(path):
        yield from (f"{path.parent / str(damage)}" for damage in tail.damages)
        if tail.torn_bytes:
            yield f"{path}: its last line has no end ({tail.torn_bytes} bytes); it was never acknowledged"
        if tail.stopped:
            yield f"{path}: {tail.stopped}"


def _keys(path: Path) -> Iterator[tuple[str, str, int]]:
    from prunebench.store.tails import tail_keys

    for tail in read_tails(path):
        yield from tail_keys(tail)


def _table_faults(connection: DuckDBPyConnection, database: Path) -> Iterator[str]:
    """Unreadable blocks, results stored twice, rows that belong to no result."""
    import duckdb

    for table in db.TABLES:
        try:
            connection.execute(f"select bit_xor(hash(t)) from {table} as t").fetchall()
        except duckdb.Error as error:
            yield f"{database}: table {table} cannot be read ({str(error).splitlines()[0][:200]}); `bench db rebuild`"
            return
    twice = "select count(*) from (from result select 1 group by trial_id, run, attempt having count(*) > 1)"
    if count := _number(connection, twice):
        yield f"{database}: {count} results are stored twice; `bench db rebuild`"
    for table in CHILDREN:
        if count := _number(connection, f"select count(*) from {table} where result not in (select id from result)"):
            yield f"{database}: {count} rows of {table} belong to no result; `bench db rebuild`"


def _lost(connection: DuckDBPyConnection, acknowledged: dict[str, set[tuple[str, str, int]]]) -> Iterator[str]:
    """Results that a journal holds and neither the database nor its next merge would show."""
    merged = dict(connection.execute("select name, byte_count from journal").fetchall())
    for name, keys in acknowledged.items():
        rows = connection.execute(
            "select run.run_id, r.trial_id, r.attempt from result as r join run on run.id = r.run "
            "where run.run_id in (select unnest(?))",
            [sorted({run_id for run_id, _, _ in keys})],
        ).fetchall()
        missing, run_id = keys - set(rows), name.removesuffix(".jsonl")
        if missing and name in merged:
            yield f"{run_id}: {len(missing)} results of its journal are not in the database; `bench merge` or a rebuild"
        elif missing:
            yield f"{run_id}: {len(missing)} results wait for the next merge"


def _number(connection: DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0
