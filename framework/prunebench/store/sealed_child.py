"""The child process of a sealed query: `python -P -m prunebench.store.sealed_child`, request in, answer out.

It reads the results and nothing else: no files, no extensions, no network, one statement, bounded time and memory.
That guards against accidents and pasted SQL; it is no wall between people who do not trust each other.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from prunebench.errors import PruneBenchError, QueryError
from prunebench.store.answers import Answer, answer, sent

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


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


def main() -> None:
    """Answer one request."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    try:
        answers = answers_to(request)
    except PruneBenchError as error:
        answers = [Answer(error=str(error), kind=type(error).__name__)]
    sys.stdout.buffer.write(sent(answers))
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
        return answer(connection, sql, request.row_limit, parquet=request.parquet)
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
