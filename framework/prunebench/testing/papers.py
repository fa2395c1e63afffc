"""`check_paper`."""

from __future__ import annotations

from prunebench.errors import PruneBenchError
from prunebench.grid.grid import Grid
from prunebench.plugins.contracts import Paper
from prunebench.testing.findings import Finding, class_findings


def check_paper(cls: type[Paper]) -> list[Finding]:
    """Findings about a paper: both scales parse, it is cited, its published numbers are there."""
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
            findings.append(Finding("grid", str(error), f"mend {scale}.toml"))
    if not (paper.folder / "published.csv").is_file():
        findings.append(Finding("published", "no published.csv", "add the published numbers as data"))
    return findings
