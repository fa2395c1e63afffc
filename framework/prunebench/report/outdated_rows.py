"""What became of a paper's grid since a run of it: rows that it no longer asks for, claims that it no longer makes.

A trial's id covers its protocol. So a row whose id today's grid does not ask for was made by an older protocol, and a
claim that is judged on it speaks of that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from prunebench.errors import PruneBenchError
from prunebench.judging.claims import Verdict
from prunebench.plugins.discovery import Installed, find_installed


@dataclass(frozen=True)
class Since:
    """Rows of a run that its paper's grid asks for no longer, of how many, and the claims that the grid makes today."""

    paper: str
    old_count: int
    row_count: int
    claims: frozenset[str]  # the queries
    fault: str = ""  # why today's grid cannot be planned

    def of(self, sql: str) -> str:
        """What to say of the verdict on this query; empty where rows and query are today's."""
        if self.fault:
            return f"cannot be compared with {self.paper} as it is now: {self.fault}"
        old = f"{self.old_count} of {self.row_count} rows use a protocol that {self.paper} asks for no longer"
        asked = f"{self.paper} now has another comparison query, or none"
        return "; ".join([old] * (self.old_count > 0) + [asked] * (sql not in self.claims))


def since(path: Path | str, run_id: str, installed: Installed | None = None) -> Since | None:
    """A run held against its paper as it is installed; None for the run of a grid that is no paper's."""
    name, scale, rows = _rows(path, run_id)
    papers = (installed or find_installed()).of_kind("paper") if scale else {}
    if name not in papers:
        return None
    try:
        ids, claims = today(papers[name].cls().grid(scale), name, installed or find_installed())
    except PruneBenchError as error:
        return Since(name, 0, len(rows), frozenset(), str(error).splitlines()[0])
    return Since(name, len(rows - ids), len(rows), frozenset(claims.values()))


def _rows(path: Path | str, run_id: str) -> tuple[str, str, set[str]]:
    """The grid's name, its scale (empty for a file), and the ids of the rows that ended ok."""
    from prunebench.store.answers import own_queries

    asked = ["select run_name, scale, run_id from runs", "select distinct trial_id from trials where status = 'ok'"]
    runs, rows = own_queries(path, asked, run=run_id, row_limit=1_000_000)
    found = [(name, scale or "") for name, scale, known in runs.rows if known == run_id]
    name, scale = found[0] if found else ("", "")
    return name, scale, {row[0] for row in rows.rows}


def today(text: str, name: str, installed: Installed) -> tuple[set[str], dict[str, str]]:
    """The trial ids that a grid asks for, and the queries of its claims by their texts; raises for a wrong grid."""
    from prunebench.grid.grid import Grid
    from prunebench.grid.plan import plan

    grid = Grid.parse(text, source=name)
    return {trial.id for trial in plan(grid, installed).trials}, {claim.text: claim.sql for claim in grid.claims}


def marked(verdicts: Iterable[Verdict], found: Since | None) -> list[Verdict]:
    """The verdicts, each with what is to be said of its rows."""
    return [replace(verdict, since=found.of(verdict.sql)) if found else verdict for verdict in verdicts]


def judged(path: Path | str, run_id: str, installed: Installed | None = None) -> list[Verdict]:
    """The run's claims with their verdicts, marked where rows or query are not today's."""
    from prunebench.judging.claims import check_claims

    verdicts = check_claims(path, run_id)
    return marked(verdicts, since(path, run_id, installed)) if verdicts else []
