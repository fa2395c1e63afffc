"""The child process of a sealed query: `python -P -m prunebench.store.sealed_child`, request in, answer out.

It reads the results and nothing else: no files, no extensions, no network, one statement, bounded time and memory.
That guards against accidents and pasted SQL; it is no wall between people who do not trust each other.
"""

from __future__ import annotations

import io
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prunebench.errors import PruneBenchError, QueryError
from prunebench.store.names import distinct
from prunebench.writing import quoted_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ALLOWED = ("SELECT", "EXPLAIN")


class Request(msgspec.Struct):
    """What the parent asks for."""

    path: str
    statements: list[str]  # each is one query, answered on its own
    run: str = ""
    row_limit: int = 10_000
    seconds: float = 30.0
    memory_bytes: int = 3 << 30
    threads: int = 2
    parquet: bool = False


class Answer(msgspec.Struct):
    """What comes back: rows, a Parquet file's bytes, or an error in one line."""

    error: str = ""
    kind: str = "QueryError"  # the error's class
    columns: list[str] = []
    types: list[str] = []
    rows: list[list[Any]] = []
    is_cut: bool = False  # there were more rows than the limit
    parquet: bytes = b""


def main() -> None:
    """Answer one request."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    try:
        answers = answers_to(request)
    except PruneBenchError as error:
        answers = [Answer(error=str(error), kind=type(error).__name__)]
    sys.stdout.buffer.write(msgspec.msgpack.encode(answers, enc_hook=str))
    sys.stdout.buffer.flush()


def answers_to(request: Request) -> list[Answer]:
    """Open the results, seal the connection, run the statements one by one."""
    from prunebench.store.catalog import open_catalog
    from prunebench.store.database import connect

    connection = connect(threads=request.threads, memory_limit="1GB", temp_directory="", max_temp_directory_size="0B")
    try:
        open_catalog(connection, Path(request.path), request.run)
        _limit_process(request)
        seal(connection, request.seconds)
        return [_answer_to(connection, sql, request) for sql in request.statements]
    finally:
        connection.close()


def _answer_to(connection: DuckDBPyConnection, sql: str, request: Request) -> Answer:
    """The rows of one statement, or why there are none."""
    import duckdb

    try:
        return _run(connection, sql, request)
    except (duckdb.OutOfMemoryException, MemoryError):
        return Answer(error=_too_much(request))
    except duckdb.InterruptException:
        return Answer(error=f"stopped after {request.seconds:g} s; narrow the query or raise --timeout")
    except (duckdb.Error, QueryError, OverflowError, UnicodeError) as error:
        return Answer(error=str(error))


def seal(connection: DuckDBPyConnection, seconds: float) -> None:
    """Take everything away but what is attached; the order matters, for later settings would be refused."""
    connection.execute(f"set max_execution_time = {max(1, round(seconds * 1000))}")
    connection.execute("set enable_external_access = false")
    connection.execute("set disabled_filesystems = 'LocalFileSystem'")
    connection.execute("set lock_configuration = true")


def _run(connection: DuckDBPyConnection, sql: str, request: Request) -> Answer:
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
    if request.parquet and kind == "SELECT":
        return _parquet(connection, sql, request)
    cursor = connection.execute(statements[0])
    description = cursor.description or []
    if any("TIME ZONE" in str(column[1]) for column in description):  # Python would need pytz for these
        cursor = connection.execute(_as_text(connection, sql))
    rows = [list(row) for row in cursor.fetchmany(request.row_limit + 1)]
    if any("HUGEINT" in str(column[1]) for column in description):  # what a sum of integers is
        rows = [[_in_64_bits(value) for value in row] for row in rows]
    return Answer(
        columns=distinct([column[0] for column in description]),
        types=[str(column[1]) for column in description],
        rows=rows[: request.row_limit],
        is_cut=len(rows) > request.row_limit,
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


def _parquet(connection: DuckDBPyConnection, sql: str, request: Request) -> Answer:
    from prunebench.store.results import frame

    rows = frame(connection, sql, limit=request.row_limit + 1)
    buffer = io.BytesIO()
    rows.head(request.row_limit).write_parquet(buffer)
    return Answer(columns=rows.columns, parquet=buffer.getvalue(), is_cut=len(rows) > request.row_limit)


def _limit_process(request: Request) -> None:
    """Scalar functions ignore DuckDB's own limits, so the process has some too."""
    resource.setrlimit(resource.RLIMIT_AS, (request.memory_bytes, request.memory_bytes))
    cpu_seconds = int(request.seconds * request.threads * len(request.statements)) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _too_much(request: Request) -> str:
    return f"the query needs more memory than its limit (1 GB, the process {request.memory_bytes >> 30} GB); narrow it"


if __name__ == "__main__":
    main()
