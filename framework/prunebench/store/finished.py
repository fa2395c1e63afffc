"""Which trials are done: one look at the published file and the journals' tails, without views, polars or torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.store.journal import folder_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BEST = """
    select trial_id, status, strftime(started_at, '%Y-%m-%dT%H:%M:%S.%f'), attempt
    from published.main.result
    where trial_id in (select unnest(string_split(?, ' ')))
        and id not in (select result from published.main.superseded)
"""


def finished(database: Path, trial_ids: Collection[str]) -> dict[str, str]:
    """Trial id -> status of the best stored attempt: ok before all others, then the latest."""
    journals = sorted(folder_of(database).glob("*.jsonl"))
    if not trial_ids or not (journals or database.exists()):
        return {}
    from prunebench.store.database import connect

    connection = connect()
    try:
        return _finished(connection, database, journals, frozenset(trial_ids))
    finally:
        connection.close()


def _finished(
    connection: DuckDBPyConnection, database: Path, journals: list[Path], wanted: frozenset[str]
) -> dict[str, str]:
    from prunebench.store.catalog import attach_published
    from prunebench.store.store import tail_outcomes, unmerged

    best: dict[str, tuple[bool, str, int, str]] = {}
    attached = attach_published(connection, database)
    if attached:
        rows = connection.execute(_BEST, [" ".join(wanted)]).fetchall()
        best = {row[0]: (row[1] == "ok", row[2] or "", row[3], row[1]) for row in rows}
    for tail in unmerged(connection, database, journals, attached):
        for trial_id, status, started_at, attempt in tail_outcomes(tail):
            found = (status == "ok", started_at.removesuffix("Z").split("+")[0], attempt, status)
            if trial_id in wanted and found > best.get(trial_id, (False, "", 0, "")):
                best[trial_id] = found
    return {trial_id: found[3] for trial_id, found in best.items()}
