"""A query by a stranger's SQL: in a child process that is killed at its deadline."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from prunebench import errors as errors_module
from prunebench.errors import QueryError, StoreError, encodable
from prunebench.store.answers import Answer
from prunebench.store.sealed_child import Request

GRACE_SECONDS = 2.0


def sealed_query(
    path: Path | str,
    sql: str,
    *,
    run: str = "",
    row_limit: int = 10_000,
    seconds: float = 30.0,
    parquet: bool = False,
) -> Answer:
    """The rows of one select over the results at `path`; raises QueryError where it is wrong, forbidden or too much."""
    (answer,) = sealed_queries(path, [sql], run=run, row_limit=row_limit, seconds=seconds, parquet=parquet)
    if answer.error:
        raise QueryError(answer.error)
    return answer


def sealed_queries(
    path: Path | str,
    statements: list[str],
    *,
    run: str = "",
    row_limit: int = 10_000,
    seconds: float = 30.0,
    parquet: bool = False,
) -> list[Answer]:
    """An answer a statement, each with its own error and `seconds`; raises where the results cannot be opened."""
    if any(encodable(text) != text for text in statements):
        raise QueryError("the SQL is not UTF-8")
    if encodable(str(path)) != str(path):
        raise StoreError(f"{encodable(str(path))}: a path that is not UTF-8 cannot be queried; rename it")
    request = Request(str(path), statements, run, row_limit, seconds, parquet=parquet)
    command = [sys.executable, "-P", "-m", "prunebench.store.sealed_child"]
    patience = seconds * len(statements) + GRACE_SECONDS
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            sent, errors = child.communicate(msgspec.msgpack.encode(request), timeout=patience)
        except subprocess.TimeoutExpired:
            raise QueryError(f"stopped after {seconds:g} s; narrow the query or raise --timeout") from None
        finally:
            if child.poll() is None:
                child.kill()
    return _decoded(sent, errors, child.returncode, request)


def _decoded(sent: bytes, errors: bytes, code: int, request: Request) -> list[Answer]:
    try:
        answers = msgspec.msgpack.decode(sent, type=list[Answer])
    except msgspec.DecodeError:
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            limit = f"more than {request.seconds:g} s of work"
            raise QueryError(f"stopped: {limit}; narrow the query or raise --timeout") from None
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
        raise QueryError(f"the query's process died, most likely for memory ({last[0][:200]})") from None
    if len(answers) != len(request.statements) or answers[0].kind != "QueryError":
        raise getattr(errors_module, answers[0].kind, StoreError)(answers[0].error)
    return answers
