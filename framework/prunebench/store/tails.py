"""What a journal's tail says of trials, read without a database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from prunebench.records import decoder_of
from prunebench.store.journal import Tail, read_tails

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class _Keys(msgspec.Struct):
    trial_id: str = ""
    run_id: str = ""


class _Made(msgspec.Struct):
    code: dict[str, str] = {}


class _Outcome(msgspec.Struct):
    status: str = "failed"
    started_at: str = ""
    attempt: int = 1
    provenance: _Made = msgspec.field(default_factory=_Made)


class _Record(msgspec.Struct):
    keys: _Keys
    result: _Outcome


def tail_outcomes(tail: Tail) -> Iterator[tuple[str, str, str, int]]:
    """Trial id, status, start and attempt of the results in `tail`, without a database."""
    yield from ((*facts,) for *facts, _ in tail_endings(tail))  # type: ignore[misc]


def tail_keys(tail: Tail) -> Iterator[tuple[str, str, int]]:
    """Run, trial id and attempt of the results in `tail`: a journal may be a copy under another name."""
    decoder = decoder_of(_Record)
    for body in tail.results:
        with contextlib.suppress(msgspec.ValidationError):
            record = decoder.decode(body)
            yield record.keys.run_id, record.keys.trial_id, record.result.attempt


def tail_endings(tail: Tail) -> Iterator[tuple[str, str, str, int, dict[str, str]]]:
    """The same with the code of the plugins."""
    decoder = decoder_of(_Record)
    for body in tail.results:
        with contextlib.suppress(msgspec.ValidationError):
            record = decoder.decode(body)
            outcome = record.result
            yield record.keys.trial_id, outcome.status, outcome.started_at, outcome.attempt, outcome.provenance.code


def unmerged(
    connection: DuckDBPyConnection, database: Path, journals: list[Path], attached: str = ""
) -> Iterator[Tail]:
    """What the journals hold beyond the database attached as `attached` (empty: nothing is attached)."""
    from prunebench.store.database import watermarks

    marks = watermarks(connection, attached) if attached else {}
    for path in journals:
        offset, lines = marks.get(path.name, (0, 0))
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > offset:
                yield from read_tails(path, offset, lines)
