"""What others' checks say of a run: its claims, and the checklist of a sound evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import PruneBenchError
from prunebench.report.markup import code, count, details, esc, paragraph, section
from prunebench.report.scope import Queryable
from prunebench.report.seeds import ONE_SEED
from prunebench.writing import quoted

if TYPE_CHECKING:
    from prunebench.judging.audit import Point
    from prunebench.judging.claims import Verdict
    from prunebench.plugins.discovery import Installed

TONES = {"held": "good", "satisfied": "good", "not held": "bad", "missing": "bad", "error": "bad"}


@dataclass(frozen=True)
class Judgements:
    """Claims and audit, asked in child processes while the charts are drawn."""

    claims: Future[Sequence[Verdict]]
    points: Future[Sequence[Point]]


def begin(results: Queryable, db: Path | str, run_id: str, installed: Installed | None = None) -> Judgements:
    """Start both checks; a run without claims is not asked for them."""
    from prunebench.report.advice import planned_audit
    from prunebench.report.outdated_rows import judged

    claims = results.query(f"select claims from runs where run_id = {quoted(run_id)} and len(claims) > 2")
    pool = ThreadPoolExecutor(2)
    try:
        asked = pool.submit(judged if claims.height else _no_claims, db, run_id)
        return Judgements(asked, pool.submit(planned_audit, db, run_id, installed))
    finally:
        pool.shutdown(wait=False)


def _no_claims(db: Path | str, run_id: str) -> Sequence[Verdict]:
    return []


def claims_section(found: Future[Sequence[Verdict]]) -> str:
    """Each claim with its verdict, the numbers behind it and its query; empty where the grid makes none."""
    try:
        verdicts = found.result()
    except PruneBenchError as error:
        return section("claims", "Claims", paragraph(f"The claims could not be checked: {error}", "empty"))
    if not verdicts:
        return ""
    held = sum(verdict.verdict == "held" for verdict in verdicts)
    told = paragraph(f"{held} of {count(len(verdicts), 'claim')} held on the trials of this run.", "note")
    return section("claims", "Claims", told, _list(map(_claim, verdicts)))


def audit_section(found: Future[Sequence[Point]]) -> str:
    """The checklist, what is missing first opened with the grid lines that would supply it."""
    try:
        points = found.result()
    except PruneBenchError as error:
        return section("audit", "Audit", paragraph(f"The audit could not be made: {error}", "empty"))
    applying = [point for point in points if point.status != "does not apply"]
    kept = sum(point.status == "satisfied" for point in applying)
    told = f"{kept} of the {count(len(applying), 'point')} of a sound pruning evaluation that apply here are satisfied."
    return section("audit", "Audit", paragraph(told, "note"), details("Point by point", _list(map(_point, points))))


def _claim(verdict: Verdict) -> str:
    numbers = ", ".join(f"{name} = {_number(value)}" for name, value in verdict.numbers.items())
    lines = [paragraph(text, "note") for text in (numbers, verdict.why, verdict.why_not, verdict.since) if text]
    text = f"{verdict.text} {ONE_SEED}" if verdict.seed_count == 1 else verdict.text
    return _item(verdict.verdict, f"<p>{esc(text)}</p>{''.join(lines)}{details('Query', code(verdict.sql))}")


def _point(point: Point) -> str:
    fix = code(point.mend) if point.mend and point.status in ("missing", "partly") else ""
    told = f"<p>{point.number}. {esc(point.title)}</p>{paragraph(point.found, 'note') if point.found else ''}{fix}"
    return _item(point.status, told)


def _item(word: str, inside: str) -> str:
    return f'<li><p class="{TONES.get(word, "soft")}">{esc(word)}</p><div>{inside}</div></li>'


def _list(items: Any) -> str:
    return f'<ul class="sums">{"".join(items)}</ul>'


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
