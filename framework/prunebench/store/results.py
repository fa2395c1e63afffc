"""Results for Python: SQL in, polars frames out."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import QueryError
from prunebench.store.names import distinct
from prunebench.writing import quoted_name

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection


UNKNOWN = ("INTERVAL", "BIT", "JSON")  # types that polars does not know, or hands on as bytes


class Results:
    """What one database and its journals hold, the last second's trials included; narrowed to one run if asked."""

    def __init__(self, path: Path | str, run: str = "") -> None:
        self.path, self.run = Path(path), run
        self._lock = threading.Lock()
        self._connection: DuckDBPyConnection | None = None
        self._seen: object = None

    def query(self, sql: str, params: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of one `select`; raises QueryError with DuckDB's message where it is wrong."""
        import duckdb

        with self._lock:
            connection = self._current()
            try:
                return frame(connection, sql, params)
            except duckdb.Error as error:
                raise QueryError(str(error)) from None

    def close(self) -> None:
        """Let go of the file; the next query opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _current(self) -> DuckDBPyConnection:
        """A connection to the file and tails as they are now."""
        from prunebench.store.catalog import open_catalog
        from prunebench.store.database import connect
        from prunebench.store.store import Store

        seen = Store(self.path).look()
        if self._connection is None or seen != self._seen:
            self.close()
            connection = connect()
            try:
                open_catalog(connection, self.path, self.run)
            except BaseException:
                connection.close()
                raise
            self._connection, self._seen = connection, seen
            weakref.finalize(self, _close, connection)
        return self._connection


def open_results(path: str | Path = "runs/results.duckdb", run: str = "") -> Results:
    """The results stored at `path`; with `run`, only the trials that this run's grid asked for.

    Raises StoreError where there are none.
    """
    results = Results(path, run)
    with results._lock:
        results._current()
    return results


def frame(connection: DuckDBPyConnection, sql: str, params: Sequence[Any] = (), limit: int = 0) -> pl.DataFrame:
    """The rows of `sql` (the first `limit`); intervals, bit strings and JSON come as text."""
    import polars as pl

    relation = connection.sql(sql, params=list(params)) if params else connection.sql(sql)
    if relation is None:
        raise QueryError("the statement returns no rows; write a select")
    kinds, names = [str(kind) for kind in relation.types], distinct(relation.columns)
    if names != relation.columns or any(any(word in kind for word in UNKNOWN) for kind in kinds):
        numbered = enumerate(zip(names, kinds, strict=True), start=1)
        relation = relation.project(", ".join(_readable(number, name, kind) for number, (name, kind) in numbered))
    relation = relation.limit(limit) if limit else relation
    return pl.DataFrame(_Stream(relation.__arrow_c_stream__()))


class _Stream:
    """An Arrow stream alone: handed the relation itself, polars keeps it, and DuckDB complains of a leak at exit."""

    def __init__(self, capsule: object) -> None:
        self._capsule = capsule

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._capsule


def _readable(number: int, name: str, kind: str) -> str:
    """The column at place `number` under a name of its own."""
    column = f"cast(#{number} as varchar)" if any(word in kind for word in UNKNOWN) else f"#{number}"
    return f"{column} as {quoted_name(name)}"


def _close(connection: DuckDBPyConnection) -> None:
    with contextlib.suppress(Exception):
        connection.close()
