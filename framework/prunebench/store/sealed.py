"""A query by a stranger's SQL: in a child process that is killed at its deadline."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from prunebench.errors import QueryError
from prunebench.store.sandbox import Answer, Request

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
    request = Request(str(path), sql, run, row_limit, seconds, parquet=parquet)
    command = [sys.executable, "-P", "-m", "prunebench.store.sandbox"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            sent, errors = child.communicate(msgspec.msgpack.encode(request), timeout=seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise QueryError(f"stopped after {seconds:g} s; narrow the query or raise --timeout") from None
        finally:
            if child.poll() is None:
                child.kill()
    return _decoded(sent, errors, child.returncode, seconds)


def _decoded(sent: bytes, errors: bytes, code: int, seconds: float) -> Answer:
    try:
        answer = msgspec.msgpack.decode(sent, type=Answer)
    except msgspec.DecodeError:
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            raise QueryError(f"stopped: more than {seconds:g} s of work; narrow the query or raise --timeout") from None
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
        raise QueryError(f"the query's process died, most likely for memory ({last[0][:200]})") from None
    if answer.error:
        raise QueryError(answer.error)
    return answer
