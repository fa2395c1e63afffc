"""A stranger's results beside one's own: a published folder or a database file, checked, then taken in."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import StoreError
from prunebench.store import database as db
from prunebench.store.catalog import open_catalog
from prunebench.store.folders import MANIFEST, build_database, read_manifest
from prunebench.store.journal import journals_of
from prunebench.store.publish import merge_lock
from prunebench.store.taking import journals_ahead, migrate_copy, require_database, take_copy
from prunebench.writing import file_sha256

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from prunebench.store.merger import MergeReport
    from prunebench.store.store import Store

SAME = ("status", "top1_accuracy", "score", "loss", "parameter_count", "nonzero_parameter_count", "stored_bytes",
        "test_count", "speedup", "latency_ms", "started_at", "dense_hash")  # fmt: skip
MADE = ("status", "top1_accuracy", "score", "parameter_count", "nonzero_parameter_count", "stored_bytes")  # not timed


@dataclass(frozen=True)
class Offered:
    """What a folder or file holds; `differing` are trials that are here already and came out otherwise."""

    source: str
    publisher: str
    content: str  # hash of the manifest, or of the file
    prunebench: str
    run_count: int
    trial_count: int
    new_count: int  # results that are not here yet
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Joined:
    """What `join` did."""

    offered: Offered
    report: MergeReport


def check(source: Path, database: Path) -> Offered:
    """What is at `source`, held to its hashes and to the results at `database`; nothing is written."""
    with tempfile.TemporaryDirectory(prefix="prunebench-join-") as scratch:
        return _prepare(source, database, Path(scratch) / "joined.duckdb")


def join(store: Store, source: Path) -> Joined:
    """Take in the results at `source`; a second time adds nothing. Raises StoreError for a fault, nothing is taken."""
    with tempfile.TemporaryDirectory(prefix="prunebench-join-") as scratch:
        made = Path(scratch) / "joined.duckdb"
        offered = _prepare(source, store.path, made)
        with merge_lock(store.path, wait_seconds=10):
            take_copy(store.folder, made, offered.content)
    return Joined(offered, store.merge(wait_seconds=10))


def _prepare(source: Path, database: Path, made: Path) -> Offered:
    """Make the database `made` of what `source` holds, with its origin, and hold it to what is here."""
    if source.is_dir():
        manifest = read_manifest(source)
        build_database(source, manifest["schema"], made)
        content = file_sha256(source / MANIFEST)
        publisher, version = (str(manifest.get(key) or "")[:200] for key in ("publisher", "prunebench"))
    else:
        _copy_database(source, made)
        content, publisher, version = file_sha256(source), "", ""
    name = source.resolve().name
    connection = db.connect()
    try:
        db.attach(connection, made, "other", read_only=False)
        connection.execute(
            "insert into other.main.origin select id, ?, ?, ?, ? from other.main.run "
            "where id not in (select run from other.main.origin)",
            [name, publisher, content, version],
        )
        counts = connection.execute(
            "select (select count(*) from other.main.run), count(distinct trial_id), count(*) from other.main.result"
        ).fetchone()
        assert counts is not None
        known, differing = _held_to(connection, database, source)
    finally:
        connection.close()
    return Offered(name, publisher, content, version, counts[0], counts[1], counts[2] - known, differing)


def _copy_database(source: Path, made: Path) -> None:
    """A private copy of the database file at `source`, of today's schema."""
    if not source.is_file():
        raise StoreError(f"{source}: no such folder or file")
    if source.suffix in (".parquet", ".csv", ".json"):
        raise StoreError(
            f"{source}: one table alone cannot be joined; give the published folder, or a results database"
        )
    require_database(source)
    if ahead := journals_ahead(source):
        raise StoreError(
            f"{source}: {ahead[0].name} holds results that are not in it; `bench merge --db {source}` first"
        )
    shutil.copyfile(source, made)
    made.chmod(0o644)
    migrate_copy(made)


def _held_to(connection: DuckDBPyConnection, database: Path, source: Path) -> tuple[int, tuple[str, ...]]:
    """How many of the other's results are here, and the trials that came out otherwise here.

    Raises StoreError where one and the same attempt of a run has other numbers: one of the two was changed.
    """
    if not database.exists() and not journals_of(database):
        return 0, ()
    open_catalog(connection, database)
    pairs = """
        from other.main.result as o
        join other.main.run as their_run on their_run.id = o.run
        join result as r on r.trial_id = o.trial_id
        join run on run.id = r.run
    """
    same = "run.run_id = their_run.run_id and r.attempt = o.attempt"
    changed = " or ".join(f"r.{name} is distinct from o.{name}" for name in SAME)
    sql = f"select o.trial_id, run.run_id {pairs} where {same} and ({changed}) order by all"
    if rows := connection.execute(sql).fetchall():
        trial, run = rows[0]
        raise StoreError(
            f"{source}: {len(rows)} results of runs that are here have other numbers there, trial {trial} of {run} "
            "first: one of the two was changed; nothing is imported"
        )
    row = connection.execute(f"select count(*) {pairs} where {same}").fetchone()
    apart = " or ".join(f"r.{name} is distinct from o.{name}" for name in MADE)
    ok = "r.status = 'ok' and o.status = 'ok'"
    sql = f"select distinct o.trial_id {pairs} where not ({same}) and {ok} and ({apart}) order by all"
    return (row[0] if row else 0), tuple(trial for (trial,) in connection.execute(sql).fetchall())
