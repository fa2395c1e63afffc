"""`check_paper`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.errors import PruneBenchError, said
from prunebench.grid.file import Claim
from prunebench.grid.grid import Grid
from prunebench.plugins.contracts import Paper
from prunebench.store import Results, open_results
from prunebench.testing.findings import Finding, class_findings
from prunebench.testing.sample import sample_database

SCALES = ("full", "offline")


def check_paper(cls: type[Paper]) -> list[Finding]:
    """Findings about a paper: its two grids, its citation, its published numbers, its comparison and its claims."""
    findings = class_findings(cls, "paper")
    if findings:
        return findings
    paper = cls()
    for attribute in ("title", "citation"):
        if not getattr(paper, attribute, ""):
            findings.append(Finding(attribute, "is empty", "say what is reproduced"))
    for scale in SCALES:
        try:
            Grid.parse(paper.grid(scale), name=paper.name, source=f"{scale}.toml")
        except (PruneBenchError, OSError) as error:
            findings.append(Finding("grid", str(error), f"fix {scale}.toml or claims.toml"))
    if not (paper.folder / "published.csv").is_file():
        findings.append(Finding("published", "no published.csv", "add the published numbers as data"))
    return [*findings, *_ledger_findings(paper), *_query_findings(paper)]


def _ledger_findings(paper: Paper) -> list[Finding]:
    """Read `ledger.csv` where there is one."""
    try:
        paper.ledger()
    except PruneBenchError as error:
        return [Finding("ledger", said(error, 300), "fix ledger.csv")]
    return []


def _query_findings(paper: Paper) -> list[Finding]:
    """Run `comparison.sql` and every claim over a made-up run: a column that is not there is named."""
    try:
        asked = {claim.sql: f"claim {claim.text!r}" for scale in SCALES for claim in _claims(paper, scale)}
        if sql := paper.comparison():
            asked[sql] = "comparison"
    except (PruneBenchError, OSError) as error:
        return [Finding("comparison", said(error, 300), "fix comparison.sql; try it in bench query")]
    with tempfile.TemporaryDirectory() as folder, open_results(sample_database(Path(folder))) as results:
        return [finding for sql, name in asked.items() for finding in _refused(results, name, sql)]


def _claims(paper: Paper, scale: str) -> tuple[Claim, ...]:
    """The claims of one grid; none where it does not parse, which is a finding of its own."""
    try:
        return Grid.parse(paper.grid(scale), name=paper.name).claims
    except (PruneBenchError, OSError):
        return ()


def _refused(results: Results, name: str, sql: str) -> list[Finding]:
    try:
        results.query(sql)
    except PruneBenchError as error:
        mend = "fix comparison.sql" if name == "comparison" else "fix the claim's sql"
        return [Finding(name, said(error, 300), f"{mend}; try it in bench query")]
    return []
