"""The ledger of the bundled papers: complete, equal to the published files, and judged by what a database holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import prunebench_papers
import pytest
from click.testing import CliRunner
from prunebench.cli import bench
from prunebench.errors import PruneBenchError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.records import Trial

sys.path.insert(0, str(Path(__file__).parent))
import measured

PAPERS = {cls.name: cls() for cls in prunebench_papers.papers()}
ROHLICEK = PAPERS["rohlicek-2020"]


def asked(*arguments: str) -> Any:
    return CliRunner().invoke(bench, list(arguments), standalone_mode=False)


def test_the_ledger_has_at_least_120_cells_of_checked_rows() -> None:
    rows = [row for paper in PAPERS.values() for row in paper.ledger()]
    assert len({(row.source, row.table, row.model, row.method, row.ratio, row.metric) for row in rows}) >= 120


def test_the_accuracies_of_ravan_are_those_of_the_published_file() -> None:
    paper = PAPERS["ravan-ebanks-2024"]
    published = [float(row["top1_percent"]) for row in paper.published()]
    assert [row.value for row in paper.ledger()] == published


def test_counts_and_accuracies_of_rohlicek_are_those_of_the_published_file() -> None:
    told = [float(row[name]) for row in ROHLICEK.published() for name in ("parameters", "top1_percent")]
    assert [row.value for row in ROHLICEK.ledger()] == told


def trials(scale: str) -> tuple[Grid, list[Trial]]:
    made = plan(Grid.parse(ROHLICEK.grid(scale), source="rohlicek-2020"), find_installed())
    return made.grid, list(made.trials)


def counts(trial: Trial) -> dict[str, Any]:
    """The published count and accuracy of the trial's cell, the accuracy off by some tenths of a point per seed."""
    for row in ROHLICEK.ledger():
        params = {key: str(value).lower() for key, value in trial.method.params.items()}
        named = dict(part.split("=") for part in row.setting.split(", "))
        if row.method == trial.method.use and row.metric == "nonzero_parameters" and named.items() <= params.items():
            return {"nonzero_parameter_count": int(row.value)}
    return {"nonzero_parameter_count": 1}


def stored(folder: Path, scale: str) -> Path:
    grid, planned = trials(scale)
    measured.stored(folder, grid, planned, counts).close()
    return folder / "results.duckdb"


def test_all_nineteen_counts_of_rohlicek_are_reproduced_at_full_scale(tmp_path: Path) -> None:
    result = asked("ledger", "rohlicek-2020", "--db", str(stored(tmp_path, "full")), "--json")
    entries = [entry for entry in json.loads(result.stdout) if entry["metric"] == "nonzero_parameters"]
    assert result.return_value == 0
    assert [entry["verdict"] for entry in entries] == ["reproduced"] * 19
    assert {entry["ours"]["seed_count"] for entry in entries} == {5}


def test_accuracies_that_are_off_without_a_spread_are_not_reproduced(tmp_path: Path) -> None:
    database = str(stored(tmp_path, "full"))  # every accuracy is 90 % there, by no spread at all
    result = asked("ledger", "rohlicek-2020", "--db", database, "--strict", "--json")
    found = {entry["verdict"] for entry in json.loads(result.stdout) if entry["metric"] == "top1_accuracy"}
    assert found == {"not reproduced"} and result.return_value == 1


def test_letters_drawn_here_are_not_the_cells_of_the_paper(tmp_path: Path) -> None:
    result = asked("ledger", "rohlicek-2020", "--db", str(stored(tmp_path, "offline")), "--json")
    assert {(e["verdict"], e["why"]) for e in json.loads(result.stdout)} == {("cannot tell", "not measured")}


def test_the_saved_query_gives_the_verdicts_to_sql(tmp_path: Path) -> None:
    result = asked("query", "--saved", "ledger", "--db", str(stored(tmp_path, "full")), "--json")
    rows = [row for row in json.loads(result.stdout) if row["paper"] == "rohlicek-2020"]
    assert len(rows) == 38 and sum(row["verdict"] == "reproduced" for row in rows) == 19
    assert {row["seed_count"] for row in rows} == {5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["rohlicek"], "rohlicek"), (["rohlicek-2020", "--db", "no/such.duckdb"], "no/such.duckdb")],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = asked("ledger", *arguments)
    assert isinstance(result.exception, PruneBenchError) and result.exception.exit_code == 2
    assert message in str(result.exception) and "\n" not in str(result.exception)
