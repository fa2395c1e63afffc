"""What can still be read of a damaged database: its rows in a sound file, and the count of what is lost.

DuckDB keeps a checksum per block, and a table lies in few of them: one bad block seldom spoils more than a stretch of
one table. Nothing is guessed: a result is kept where its own row, its choices and its protocol can be read.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.store import database as db
from prunebench.store.ingest import remember_parameters
from prunebench.writing import quoted, quoted_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from duckdb import DuckDBPyConnection

Key = tuple[str, str, int]  # of a result: run, trial, attempt
VECTOR = 2048  # DuckDB reads so many rows at a time: less than that is lost together
COPIED = tuple(name for name in db.TABLES if name != "superseded")  # which attempts stand is decided where it is merged
# What only says where and when: an unreadable row is replaced by one that says no more than that it is lost.
REPLACED = {
    "run": ("result", "run", "run_id, name, scale, command, grid", "{0}, {0}, '', '', ''"),
    "environment": ("result", "environment", "environment_id", "{0}"),
    "provenance": ("result", "provenance", "provenance_id, environment", "{0}, r.environment"),
    "baseline": ("result", "baseline", "dense_id, network_id", "{0}, {0}"),
}


@dataclass(frozen=True)
class Salvaged:
    """What was read: results that are in the file made, that were in the damaged one, and rows of their parts lost."""

    result_count: int = 0
    total: int | None = None  # None where the damaged file does not even say how many there were
    read_count: int = 0  # as `result_count`, with those that were left out as the journals carry them
    part_count: int = 0
    parts: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()  # tables of which rows had to be replaced by ones that only say that they are lost


def salvage(path: Path, made: Path, mark: str, carried: Collection[Key] = (), copies: Sequence[Path] = ()) -> Salvaged:
    """Copy what can be read of the database at `path` into the new database `made`.

    Left out are the results `carried` (of journals) and those of the databases `copies`: they are kept already. `mark`
    is in the names of what stands for unreadable rows. Raises `NewerDatabase` as `schema_of` does.
    """
    sizes = _sizes(path)
    if "result" not in sizes:
        return Salvaged()
    connection = db.connect(threads=1)
    try:
        db.attach(connection, path, "other")
        db.attach(connection, made, "made", read_only=False)
        connection.execute("use made")
        db.migrate(connection)
        read = {table: _copy(connection, table, sizes[table]) for table in COPIED if table in sizes}
        replaced = _replace_lost(connection, mark)
        _drop_unreferred(connection)
        read_count = db.result_count(connection)
        _leave_out(connection, carried, copies)
        _drop_unreferred(connection)
        _remember_parameters(connection)
        short = {
            table: sizes[table] - read[table] for table in db.OF_RESULTS if sizes.get(table, 0) > read.get(table, 0)
        }
        return Salvaged(
            db.result_count(connection), sizes["result"], read_count, sum(short.values()), tuple(short), replaced
        )
    finally:
        connection.close()


def _sizes(path: Path) -> dict[str, int]:
    """Rows of each table, as the file's catalog has them; empty where that cannot be read."""
    import duckdb

    connection = db.connect(threads=1)
    try:
        db.attach(connection, path, "other")
        with contextlib.suppress(db.DamagedDatabase):  # where only that table is: the others may be sound
            db.schema_of(connection, "other", path)
        rows = connection.execute(
            "select table_name, estimated_size from duckdb_tables() where database_name = 'other' and not temporary"
        ).fetchall()
    except (db.DamagedDatabase, duckdb.Error):
        return {}
    finally:
        connection.close()
    return {table: int(count) for table, count in rows}


def _copy(connection: DuckDBPyConnection, table: str, count: int) -> int:
    """Copy the rows that can be read, by ever shorter ranges where some cannot; how many these are."""
    import duckdb

    names = "select column_name from duckdb_columns() where database_name = ? and table_name = ? order by column_index"
    theirs = {name for (name,) in connection.execute(names, ["other", table]).fetchall()}
    ours = [name for (name,) in connection.execute(names, ["made", table]).fetchall() if name in theirs]
    columns = ", ".join(map(quoted_name, ours))
    spans, copied = [(0, count)], 0
    while spans:
        first, end = spans.pop()
        where = "" if end - first == count else f" where rowid between {first} and {end - 1}"
        try:
            sql = f"insert into {table} ({columns}) select {columns} from other.main.{table}{where}"
            copied += connection.execute(sql).fetchall()[0][0]
        except duckdb.Error:
            middle = (first + max(VECTOR, (end - first) // 2)) // VECTOR * VECTOR
            spans += [(middle, end), (first, middle)] if first < middle < end else []
    return copied


def _replace_lost(connection: DuckDBPyConnection, mark: str) -> tuple[str, ...]:
    """Rows that stand for those that results name and that could not be read; of which tables."""
    lost = {}
    for table, (referring, column, columns, values) in REPLACED.items():
        name = f"{quoted(f'lost-{mark}-')} || r.{column}"
        lost[table] = connection.execute(
            f"insert into {table} (id, {columns}) select distinct on (r.{column}) r.{column}, {values.format(name)} "
            f"from {referring} as r where r.{column} not in (select id from {table})"
        ).fetchall()[0][0]
    name = f"{quoted(f'lost-{mark}-')} || r.environment"
    connection.execute(
        f"insert into environment (id, environment_id) select distinct r.environment, {name} from provenance as r "
        "where r.environment not in (select id from environment)"
    )
    return tuple(table for table, count in lost.items() if count)


def _leave_out(connection: DuckDBPyConnection, carried: Collection[Key], copies: Sequence[Path]) -> None:
    """Delete what is kept elsewhere; of a run whose name is lost, every trial and attempt that another run has."""
    connection.execute("create temp table elsewhere (run_id varchar, trial_id varchar, attempt bigint)")
    columns = [list(column) for column in zip(*carried, strict=True)] or [[], [], []]
    connection.execute("insert into temp.elsewhere select unnest(?), unnest(?), unnest(?)", columns)
    for copy in copies:
        with contextlib.suppress(db.DamagedDatabase):
            db.attach(connection, copy, "kept")
            connection.execute(
                "insert into temp.elsewhere select run.run_id, r.trial_id, r.attempt "
                "from kept.main.result as r join kept.main.run as run on run.id = r.run"
            )
            connection.execute("detach kept")
    connection.execute(
        "delete from result where id in (select r.id from result as r join run on run.id = r.run "
        "join temp.elsewhere as e on e.trial_id = r.trial_id and e.attempt = r.attempt "
        "and (e.run_id = run.run_id or starts_with(run.run_id, 'lost-')))"
    )


def _drop_unreferred(connection: DuckDBPyConnection) -> None:
    """Leave out rows that name a row which is not there."""
    for table, column, other in (*db.REFERENCES, ("origin", "run", "run")):
        connection.execute(f"delete from {table} where {column} not in (select id from {other})")


def _remember_parameters(connection: DuckDBPyConnection) -> None:
    """The types of the swept parameters anew: they follow from the choices."""
    connection.execute(
        "create or replace temp table asked as select e.key as name, list(distinct json_type(e.value)) as types "
        "from choice, json_each(choice.parameters) as e where choice.id in (select method from result) group by 1"
    )
    remember_parameters(connection, "")
