"""Reading: the published file and the journals' tails as one catalog that looks like the file."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import StoreError
from prunebench.store import database as db
from prunebench.store.ingest import ingest
from prunebench.store.journal import journals_of
from prunebench.store.publish import set_wal_aside
from prunebench.store.views import build_views, fingerprint
from prunebench.writing import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def attach_published(connection: DuckDBPyConnection, database: Path) -> str:
    """Attach the published file as `published`, repaired from the journals if need be; empty where there is none."""
    if not database.exists():
        return ""
    with contextlib.suppress(OSError):  # where nothing can be moved, DuckDB has the last word
        set_wal_aside(database)
    try:
        _attach(connection, database)
    except (db.DamagedDatabase, _Outdated):
        with contextlib.suppress(Exception):
            connection.execute("detach published")
        _repair(database)
        _attach(connection, database)
    return "published"


class _Outdated(StoreError):
    """An older schema: the next merge brings it up to date."""


def _attach(connection: DuckDBPyConnection, database: Path) -> None:
    db.attach(connection, database, "published")
    if db.schema_of(connection, "published", database) < db.SCHEMA:
        raise _Outdated(f"{database}: has an older schema and cannot be brought up to date here")


def _repair(database: Path) -> None:
    """A merge migrates an old file, and sets a damaged one aside and rebuilds it."""
    from prunebench.store.merger import Merger

    for line in Merger(database).merge(wait_seconds=10).lost:
        print(line, file=sys.stderr, flush=True)  # a query or a plan goes on with what there is


def open_catalog(connection: DuckDBPyConnection, database: Path, run_id: str = "") -> None:
    """Make `connection` read the results of `database`, journal tails included; with `run_id`, of that run's trials.

    Raises StoreError where there is neither a database nor a journal.
    """
    from prunebench.store.tails import unmerged

    journals = journals_of(database)
    if not journals and not database.exists():
        raise StoreError(f"{database}: no results yet: run `bench run --grid …` first, or name another file with --db")
    attached = attach_published(connection, database)
    tails = [tail for tail in unmerged(connection, database, journals, attached) if tail.results or tail.runs]
    if attached and not tails and not run_id and _has_current_views(connection):
        connection.execute("use published")
        return
    _overlay(connection, attached)
    for tail in tails:
        ingest(connection, tail, to="tail.main.")
    if run_id:
        _narrow(connection, run_id)
    build_views(connection, comments=False)


def _has_current_views(connection: DuckDBPyConnection) -> bool:
    connection.execute("use published")
    current = db.get_meta(connection, "views") == fingerprint(connection)
    connection.execute("use memory")
    return current


def _overlay(connection: DuckDBPyConnection, attached: str) -> None:
    """A catalog `results` whose tables are views: rows of the file, then rows of the tails."""
    connection.execute("attach ':memory:' as tail")
    connection.execute("attach ':memory:' as results")
    connection.execute("use tail")
    db.migrate(connection)
    connection.execute("use results")
    for table in db.TABLES:
        published = f"select * from published.main.{table} union all by name " if attached else ""
        connection.execute(f"create view {table} as {published}select * from tail.main.{table}")


def _narrow(connection: DuckDBPyConnection, run_id: str) -> None:
    """Let `result` show only the trials that the run's grid asked for, whoever ran them."""
    known = connection.execute("select count(*) from run where run_id = ?", [run_id]).fetchone()
    if not known or not known[0]:
        raise StoreError(f"no run {run_id!r} here; `bench runs` lists them")
    (sql,) = connection.execute(
        "select sql from duckdb_views() where database_name = 'results' and view_name = 'result'"
    ).fetchone() or ("",)
    connection.execute(sql.replace(" result ", " every_result ", 1))
    connection.execute(
        "create or replace view result as select * from every_result where trial_id in ("
        "select trial_id from run_trial join run on run.id = run_trial.run where run.run_id = $id union all "
        "select trial_id from every_result join run on run.id = every_result.run where run.run_id = $id)".replace(
            "$id", quoted(run_id)
        )
    )
