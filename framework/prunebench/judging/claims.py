"""Claims of a run: each is one query that says whether a sentence holds, with the numbers behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunebench.errors import StoreError
from prunebench.store.answers import Answer
from prunebench.writing import quoted

VERDICTS = ("held", "not held", "cannot tell")


@dataclass(frozen=True)
class Verdict:
    """A claim and what became of it: held, not held, cannot tell, or error (then `why_not` is the reason)."""

    text: str
    sql: str
    verdict: str
    numbers: dict[str, Any] = field(default_factory=dict)
    why: str = ""  # the author's own remark: why it differs
    why_not: str = ""
    since: str = ""  # what is no longer as it was when the rows were made: `report.outdated_rows`
    seed_count: int | None = None  # as the claim's own numbers count them, or the most that a setting of the run has


def check_claims(path: Path | str, run_id: str, seconds: float = 30.0) -> list[Verdict]:
    """The run's claims, each asked of the trials of its own grid only; raises StoreError for an unknown run."""
    from prunebench.store.sealed_client import sealed_queries

    claims = claims_of(path, run_id)
    if not claims:
        return []
    asked = [*(claim["sql"] for claim in claims), "select max(seed_count) from trial_means where not is_dense"]
    *answers, seeds = sealed_queries(path, asked, run=run_id, row_limit=2, seconds=seconds)
    most = None if seeds.error else seeds.rows[0][0]
    verdicts = [_verdict(claim, answer) for claim, answer in zip(claims, answers, strict=True)]
    return [v if v.verdict == "error" else replace(v, seed_count=_seeds(v.numbers, most)) for v in verdicts]


def _seeds(numbers: dict[str, Any], most: int | None) -> int | None:
    told = [numbers[name] for name in ("seed_count", "seeds") if isinstance(numbers.get(name), int)]
    return told[0] if told else most


def claims_of(path: Path | str, run_id: str) -> list[dict[str, str]]:
    """The claims that came with the run's grid."""
    from prunebench.store.answers import own_query

    rows = own_query(path, f"select claims from runs where run_id = {quoted(run_id)}").rows
    if not rows:
        raise StoreError(f"no run {run_id!r} here; `bench runs` lists them")
    claims: list[dict[str, str]] = json.loads(rows[0][0] or "[]")
    return claims


def _verdict(claim: dict[str, str], answer: Answer) -> Verdict:
    text, sql, why = claim.get("text", ""), claim["sql"], claim.get("why", "")
    if answer.error:
        return Verdict(text, sql, "error", why=why, why_not=answer.error)
    if len(answer.rows) != 1:
        found = "no row" if not answer.rows else "more than one row"
        return Verdict(text, sql, "error", why=why, why_not=f"the query gave {found}; it must return one")
    numbers = dict(zip(answer.columns, answer.rows[0], strict=True))
    verdict, why_not = _judged(numbers)
    numbers = {name: value for name, value in numbers.items() if name not in ("verdict", "held")}
    return Verdict(text, sql, verdict, numbers, why, why_not)


def _judged(row: dict[str, Any]) -> tuple[str, str]:
    """The row's own verdict, and what is wrong with it if it has none."""
    if "verdict" in row:
        verdict = "cannot tell" if row["verdict"] is None else row["verdict"]
        if verdict in VERDICTS:
            return verdict, ""
        return "error", f"verdict must be one of {', '.join(VERDICTS)}, got {verdict!r}"
    if "held" in row:
        held = row["held"]
        if held is None or isinstance(held, bool):
            return ("cannot tell" if held is None else "held" if held else "not held"), ""
        return "error", f"held must be true, false or null, got {held!r}"
    return "error", f"the query needs a column verdict or held, got {', '.join(row)}"
