"""`check_paper`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.errors import PruneBenchError, said
from prunebench.grid.grid import Grid
from prunebench.plugins.contracts import Paper
from prunebench.store import open_results
from prunebench.testing.findings import Finding, class_findings
from prunebench.testing.sample import sample_database


def check_paper(cls: type[Paper]) -> list[Finding]:
    """Findings about a paper: both scales parse, it is cited, its numbers are there, its comparison runs."""
    findings = class_findings(cls, "paper")
    if findings:
        return findings
    paper = cls()
    for attribute in ("title", "citation"):
        if not getattr(paper, attribute, ""):
            findings.append(Finding(attribute, "is empty", "say what is reproduced"))
    for scale in ("full", "offline"):
        try:
            Grid.parse(paper.grid(scale), name=paper.name, source=f"{scale}.toml")
        except (PruneBenchError, OSError) as error:
            findings.append(Finding("grid", str(error), f"fix {scale}.toml or claims.toml"))
    if not (paper.folder / "published.csv").is_file():
        findings.append(Finding("published", "no published.csv", "add the published numbers as data"))
    return [*findings, *_ledger_findings(paper), *_comparison_findings(paper)]


def _ledger_findings(paper: Paper) -> list[Finding]:
    """Read `ledger.csv` where there is one."""
    try:
        paper.ledger()
    except PruneBenchError as error:
        return [Finding("ledger", said(error, 300), "fix ledger.csv")]
    return []


def _comparison_findings(paper: Paper) -> list[Finding]:
    """Run `comparison.sql` over a made-up run."""
    try:
        sql = paper.comparison()
        if not sql:
            return []
        with tempfile.TemporaryDirectory() as folder, open_results(sample_database(Path(folder))) as results:
            results.query(sql)
    except (PruneBenchError, OSError) as error:
        return [Finding("comparison", said(error, 300), "fix comparison.sql; try it in bench query")]
    return []
