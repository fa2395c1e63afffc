"""Which trials are done: one look at the published file and the journals' tails, without views, polars or torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.store.journal import journals_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ATTEMPTS = """
    select r.trial_id, r.status, strftime(r.started_at, '%Y-%m-%dT%H:%M:%S.%f'), r.attempt, coalesce(p.code, '{}')
    from published.main.result as r
    join published.main.provenance as p on p.id = r.provenance
    where r.trial_id in (select unnest(string_split(?, ' ')))
"""
IsCurrent = Callable[[str, Mapping[str, str]], bool]  # (trial id, code of its plugins) -> whether that is today's


@dataclass(frozen=True)
class Ending:
    """How a trial ended, and what code its plugins were of ("kind:name" -> code; empty where that was not kept)."""

    status: str
    code: Mapping[str, str]
    is_current: bool


def finished(
    database: Path, trial_ids: Collection[str], is_current: IsCurrent = lambda trial_id, code: True
) -> dict[str, Ending]:
    """Trial id -> its best stored attempt: by today's code before all others, then ok, then the latest."""
    journals = journals_of(database)
    if not trial_ids or not (journals or database.exists()):
        return {}
    from prunebench.store.database import connect

    connection = connect()
    try:
        return _finished(connection, database, journals, frozenset(trial_ids), is_current)
    finally:
        connection.close()


def _finished(
    connection: DuckDBPyConnection,
    database: Path,
    journals: list[Path],
    wanted: frozenset[str],
    is_current: IsCurrent,
) -> dict[str, Ending]:
    from prunebench.store.catalog import attach_published
    from prunebench.store.tails import tail_endings, unmerged

    best: dict[str, tuple[tuple[bool, bool, str, int], Ending]] = {}

    def take(trial_id: str, status: str, started_at: str, attempt: int, code: Mapping[str, str]) -> None:
        current = is_current(trial_id, code)
        order = (current, status == "ok", started_at.removesuffix("Z").split("+")[0], attempt)
        if trial_id not in best or order > best[trial_id][0]:
            best[trial_id] = order, Ending(status, code, current)

    attached = attach_published(connection, database)
    codes: dict[str, Mapping[str, str]] = {}  # many rows share a text
    for trial_id, status, started_at, attempt, text in _attempts(connection, database, wanted) if attached else ():
        take(trial_id, status, started_at or "", attempt, codes.setdefault(text, json.loads(text)))
    for tail in unmerged(connection, database, journals, attached):
        for trial_id, status, started_at, attempt, code in tail_endings(tail):
            if trial_id in wanted:
                take(trial_id, status, started_at, attempt, code)
    return {trial_id: ending for trial_id, (_, ending) in best.items()}


def _attempts(connection: DuckDBPyConnection, database: Path, wanted: frozenset[str]) -> list[tuple[Any, ...]]:
    """The published attempts at the trials `wanted`; raises `DamagedDatabase` where a block of them cannot be read."""
    import duckdb

    from prunebench.store.database import damage

    try:
        return connection.execute(_ATTEMPTS, [" ".join(wanted)]).fetchall()
    except duckdb.Error as error:
        raise damage(database, str(error)) from None
