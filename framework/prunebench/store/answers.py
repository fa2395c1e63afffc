"""Answers to SQL as plain rows, without frames: of our own queries in this process, of a stranger's in a sealed one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prunebench.errors import QueryError
from prunebench.store.names import distinct
from prunebench.writing import quoted_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ALLOWED = ("SELECT", "EXPLAIN")


class Answer(msgspec.Struct):
    """What comes back: rows, a Parquet file's bytes, or an error in one line."""

    error: str = ""
    kind: str = "QueryError"  # the error's class
    columns: list[str] = []
    types: list[str] = []
    rows: list[list[Any]] = []
    is_cut: bool = False  # there were more rows than the limit
    parquet: bytes = b""


def own_queries(path: Path | str, statements: Sequence[str], *, run: str = "", row_limit: int = 10_000) -> list[Answer]:
    """An answer a statement, over the results at `path`, narrowed to one run if asked.

    For SQL that the project wrote itself: it runs in this process, which costs no process of its own. Raises StoreError
    where there are no results, QueryError where a statement is wrong.
    """
    import duckdb

    from prunebench.store.catalog import open_catalog
    from prunebench.store.database import connect

    connection = connect()
    try:
        open_catalog(connection, Path(path), run)
        found = [answer(connection, sql, row_limit) for sql in statements]
    except duckdb.Error as error:
        raise QueryError(str(error)) from None
    finally:
        connection.close()
    return msgspec.msgpack.decode(sent(found), type=list[Answer])  # values of the same kinds as from a sealed process


def sent(answers: list[Answer]) -> bytes:
    """Answers as a sealed process sends them: kinds that its parent cannot know are text."""
    return msgspec.msgpack.encode(answers, enc_hook=str)


def own_query(path: Path | str, sql: str, *, run: str = "", row_limit: int = 10_000) -> Answer:
    """The answer to one statement; see `own_queries`."""
    return own_queries(path, [sql], run=run, row_limit=row_limit)[0]


def answer(connection: DuckDBPyConnection, sql: str, row_limit: int, *, parquet: bool = False) -> Answer:
    """The first rows of one select, or its plan; QueryError for other statements, duckdb.Error for wrong ones."""
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("no statement; write a select")
    if len(statements) > 1:
        raise QueryError(
            f"{len(statements)} statements; one select at a time (a pivot needs its values: `on x in (…)`)"
        )
    kind = statements[0].type.name
    if kind not in ALLOWED:
        raise QueryError(f"{kind.lower()} is not allowed here, only select and explain: results are read, not changed")
    if parquet and kind == "SELECT":
        return _parquet(connection, sql, row_limit)
    cursor = connection.execute(statements[0])
    description = cursor.description or []
    if any("TIME ZONE" in str(column[1]) for column in description):  # Python would need pytz for these
        cursor = connection.execute(_as_text(connection, sql))
    rows = [list(row) for row in cursor.fetchmany(row_limit + 1)]
    if any("HUGEINT" in str(column[1]) for column in description):  # what a sum of integers is
        rows = [[_in_64_bits(value) for value in row] for row in rows]
    return Answer(
        columns=distinct([column[0] for column in description]),
        types=[str(column[1]) for column in description],
        rows=rows[:row_limit],
        is_cut=len(rows) > row_limit,
    )


def _in_64_bits(value: Any) -> Any:
    """`value`, as text where it is an integer too large to send."""
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value


def _as_text(connection: DuckDBPyConnection, sql: str) -> str:
    """The same query with its times of a zone as text."""
    relation = connection.sql(sql)
    numbered = enumerate(zip(distinct(relation.columns), map(str, relation.types), strict=True), start=1)
    texts = [
        f"{f'cast(#{number} as varchar)' if 'TIME ZONE' in kind else f'#{number}'} as {quoted_name(name)}"
        for number, (name, kind) in numbered
    ]
    return relation.project(", ".join(texts)).sql_query()


def _parquet(connection: DuckDBPyConnection, sql: str, row_limit: int) -> Answer:
    from prunebench.store.results import frame

    rows = frame(connection, sql, limit=row_limit + 1)
    buffer = io.BytesIO()
    rows.head(row_limit).write_parquet(buffer)
    return Answer(columns=rows.columns, parquet=buffer.getvalue(), is_cut=len(rows) > row_limit)
