"""Which trials a report is about: a run, whatever a query returns, or everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prunebench.errors import QueryError
from prunebench.writing import quoted

if TYPE_CHECKING:
    import polars as pl

EVERYTHING = "scope as (select trial_id from trials)"


class Queryable(Protocol):
    """What answers SQL: `prunebench.open_results(path)`."""

    def query(self, sql: str) -> pl.DataFrame:
        """The rows that `sql`, one SELECT, returns."""


@dataclass(frozen=True)
class Scope:
    """A set of trials, as the condition that every query of a report carries.

    `run_id` takes every trial that the run's grid asked for, those that earlier runs had done included; `query` is
    a SELECT with a column `trial_id`.
    """

    run_id: str | None = None
    query: str | None = None

    @property
    def select(self) -> str:
        """A SELECT of the trials' ids."""
        if self.query is not None:
            return f"select trial_id from (\n{self.query.strip().rstrip(';')}\n)"
        if self.run_id is not None:
            return f"select trial_id from run_trials where run_id = {quoted(self.run_id)}"
        return "select trial_id from trials"

    def limit(self, sql: str) -> str:
        """`sql`, written over all trials, over these trials."""
        if EVERYTHING not in sql:
            raise QueryError(f"a report's query must begin with `with {EVERYTHING}`")
        return sql.replace(EVERYTHING, f"scope as ({self.select})", 1)
