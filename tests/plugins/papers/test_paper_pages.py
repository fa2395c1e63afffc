"""What a paper's results are shown as: its page, its figures, and never one scale's numbers beside the other's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from prunebench.cli import _status
from prunebench.engine.session import _report, prepare
from prunebench.judging.claims import check_claims
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.records import Trial
from prunebench.report import write_report
from prunebench.report.papers import figure_names
from prunebench.store import open_results

from tests.plugins.papers.test_bundled_papers import PAPERS, made_up, planned, rohlicek_facts

sys.path.insert(0, str(Path(__file__).parent))
import measured


@pytest.fixture(scope="module")
def installed() -> Installed:
    return find_installed()


def test_a_papers_figure_is_drawn_by_name(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["ravan-ebanks-2024"], "offline", installed)
    measured.stored(tmp_path, made.grid, made.trials, made_up).close()
    picture = tmp_path / "pca.svg"
    db = str(tmp_path / "results.duckdb")
    assert _status(["chart", "ravan_pca", made.grid.name, "--db", db, "--output", str(picture)]) == 0
    text = picture.read_text(encoding="utf-8")
    assert "<svg" in text and "Figure 5a" in text
    assert "ravan_garg" in {name for name, _, _ in figure_names(installed)}


def test_a_comparison_never_mixes_scales(installed: Installed, tmp_path: Path) -> None:
    """Both scales in one database, the better numbers at the full one: each run reads its own only."""
    paper = PAPERS["rohlicek-2020"]
    runs = {}
    for scale, shift in (("offline", 0.0), ("full", 0.02)):
        made = planned(paper, scale, installed)

        def facts(trial: Trial, shift: float = shift) -> dict[str, Any]:
            found = rohlicek_facts(trial)
            return {**found, "top1_accuracy": found["top1_accuracy"] + shift}

        measured.stored(tmp_path, made.grid, made.trials, facts, scale, run_id=scale).close()
        runs[scale] = shift
    for scale, shift in runs.items():
        with open_results(tmp_path / "results.duckdb", run=scale) as results:
            rows = results.query(paper.comparison()).to_dicts()
        assert len(rows) == 19 and {row["scale"] for row in rows} == {scale}
        for row in rows:
            assert row["our_top1_percent"] == pytest.approx(row["published_top1_percent"] + 100 * shift)
    with open_results(tmp_path / "results.duckdb") as results:
        rows = results.query(paper.comparison()).to_dicts()
    assert len(rows) == 38  # over everything, too, a row is of one scale
    for row in rows:
        assert row["our_top1_percent"] == pytest.approx(row["published_top1_percent"] + 100 * runs[row["scale"]])
    for scale, other in (("offline", "full"), ("full", "offline")):
        page = write_report(tmp_path / "results.duckdb", scale, tmp_path / "page.html", paper=paper.name)
        section = page.read_text(encoding="utf-8").split('id="published"')[1].split("<details>")[0]
        assert f"scale {scale}" in section and f"scale {other}" not in section
    for scale in runs:
        numbers = {verdict.text: verdict.numbers for verdict in check_claims(tmp_path / "results.duckdb", scale)}
        (sides,) = (found for text, found in numbers.items() if text.startswith("CP of rank 1"))
        assert sides["rank_1_accuracy"] == pytest.approx(0.88053 + runs[scale])


def test_a_run_of_a_paper_ends_with_its_page_and_one_of_a_file_does_not(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["rohlicek-2020"], "offline", installed)
    measured.stored(tmp_path, made.grid, made.trials, rohlicek_facts, run_id="offline").close()
    prepared = prepare("rohlicek-2020", db=tmp_path / "results.duckdb", scale="offline")
    text = _report(prepared, tmp_path / "results.duckdb", "offline").read_text(encoding="utf-8")
    assert "Table 1: magnitude pruning of the linear layers" in text
    plain = prepare(made.grid, db=tmp_path / "results.duckdb")  # the same grid as a file of the user's own
    text = _report(plain, tmp_path / "results.duckdb", "offline").read_text(encoding="utf-8")
    assert "Table 1: magnitude pruning" not in text.split("<script")[0]
