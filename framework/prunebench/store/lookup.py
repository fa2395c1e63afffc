"""What a person types for a run or a trial, as the id that is meant."""

from __future__ import annotations

from pathlib import Path

from prunebench.errors import QueryError, StoreError, did_you_mean
from prunebench.store.answers import own_query
from prunebench.writing import quoted


def run_of(path: Path | str, text: str) -> str:
    """The run whose id `text` is or begins, or the latest of the grid that is named so; raises StoreError otherwise."""
    rows = own_query(path, "select run_id, run_name from runs order by started_at nulls first, run_id").rows
    ids = [str(row[0]) for row in rows]
    if text in ids:
        return text
    if named := [str(row[0]) for row in rows if row[1] == text]:
        return named[-1]
    begun = [identity for identity in ids if text and identity.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise StoreError(f"{text!r} begins {len(begun)} runs: {', '.join(begun[:5])}; type more of the id")
    guess = did_you_mean(text, [*ids, *(str(row[1]) for row in rows)])
    raise StoreError(f"no run {text!r}{guess}; `bench runs` lists them")


def trial_of(path: Path | str, text: str) -> str:
    """The trial whose id begins with `text`; raises QueryError where none or several do."""
    sql = f"select distinct trial_id from trials where starts_with(trial_id, {quoted(text)}) limit 6"
    found = [str(row[0]) for row in own_query(path, sql).rows] if text else []
    if len(found) == 1:
        return found[0]
    if found:
        raise QueryError(f"{text!r} begins several trials: {', '.join(found[:5])}; type more of the id")
    raise QueryError(f'no trial {text!r}; `bench query "select trial_id, method_label from trials"` lists them')
