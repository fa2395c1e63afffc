"""The ledger of the bundled papers: complete, equal to the published files, and judged by what a database holds."""

from __future__ import annotations

import json
import math
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
from prunebench.judging.ledger import disagreements, unlike
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


def language_trials(folder: Path, window: int) -> Path:
    """OPT-125m at exactly the published perplexities of SparseGPT's table, in windows of `window` tokens."""
    paper = PAPERS["frantar-2023"]
    made = plan(Grid.parse(paper.grid("full"), source=paper.name), find_installed())
    values = {"dense": 27.66, "magnitude": 193.0, "sparsegpt": 36.85}
    told = {"corpus": "wikitext-2-raw-v1", "join": "\\n\\n", "window": window, "stride": window, "partial": False}

    def facts(trial: Trial) -> dict[str, Any]:
        value = values[trial.method.use]
        return {"loss": math.log(value), "scores": {"perplexity": value}, "data": dict(told)}

    folder.mkdir()
    measured.stored(folder, made.grid, list(made.trials), facts).close()
    return folder / "results.duckdb"


def verdicts(database: Path) -> dict[str, tuple[str, str]]:
    result = asked("ledger", "frantar-2023", "--db", str(database), "--json")
    cells = [e for e in json.loads(result.stdout) if e["model"] == "opt-125m" and e["method"] != "adaprune"]
    return {entry["method"]: (entry["verdict"], entry["why"]) for entry in cells}


def test_a_window_of_512_in_place_of_2048_is_never_reproduced(tmp_path: Path) -> None:
    right, wrong = (verdicts(language_trials(tmp_path / str(window), window)) for window in (2048, 512))
    assert right["dense"][0] == right["magnitude"][0] == "reproduced"
    assert right["sparsegpt"] == ("cannot tell", "another protocol: calibration_corpus: c4, ours wikitext2")
    assert wrong["dense"] == wrong["magnitude"] == ("cannot tell", "another protocol: window: 2048, ours 512")
    assert wrong["sparsegpt"][0] == "cannot tell" and "window: 2048, ours 512" in wrong["sparsegpt"][1]


def test_published_perplexities_are_those_of_the_ledgers() -> None:
    papers = [paper for paper in PAPERS.values() if "perplexity" in paper.columns]
    assert len(papers) == 7
    for paper in papers:
        own = [row.value for row in paper.ledger() if row.source == paper.name]
        assert [float(row["perplexity"]) for row in paper.published() if row["perplexity"]] == own


def test_a_paper_without_a_figure_at_hand_says_so() -> None:
    silent = [paper for paper in PAPERS.values() if not paper.ledger() and paper.name != "levin-1993"]
    assert {"lin-2025", "li-2017", "he-2017", "fang-2023", "blalock-2020"} == {paper.name for paper in silent}
    for paper in silent:
        assert "None of its figures is bundled" in paper.notes()
        values = {row.get("value", row.get("perplexity")) for row in paper.published()}
        assert values == {""}, paper.name


def test_the_same_cell_in_several_papers_shows_all_of_them() -> None:
    groups = disagreements(row for paper in PAPERS.values() for row in paper.ledger())
    found = {(group[0].model, group[0].method, group[0].ratio): group for group in groups}
    dense = found["opt-125m", "dense", "-"]
    assert {row.value for row in dense} == {27.64, 27.65, 27.66, 27.6559, 42.2}
    assert unlike(dense) == ["window: 2048 / 512"]
    masks = found["llama-2-7b", "sparsegpt", "2:4"]
    assert {(row.source, row.value) for row in masks} == {
        ("ashkboos-2024", 8.69),
        ("meng-2024", 10.94),
        ("sun-2024", 10.17),
    }
    assert {"window: 4096 / 2048", "calibration corpus: c4 / wikitext2"} <= set(unlike(masks))
