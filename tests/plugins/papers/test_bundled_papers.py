"""Every bundled paper plans at both scales, its numbers are in order, and its claims find the trials they speak of."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prunebench_papers
import pytest
import torch
from prunebench import Paper
from prunebench.grid.grid import Grid
from prunebench.grid.plan import Plan, plan
from prunebench.judging.claims import check_claims
from prunebench.measure.counts import layer_shapes
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import create
from prunebench.records import Trial
from prunebench.report import Scope, write_report
from prunebench.report.papers import paper_charts
from prunebench.store import Results, open_results
from prunebench_methods import methods
from prunebench_models.convolutional import LeNet5

sys.path.insert(0, str(Path(__file__).parent))
import measured

PAPERS = {cls.name: cls() for cls in prunebench_papers.papers()}
PUBLISHED_COUNTS = {"ravan-ebanks-2024": 207, "rohlicek-2020": 19, "denton-2014": 9}
DATA_OF_THE_MACHINE = {"digits", "rendered_letters", "text"}
every_paper = pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
both_scales = pytest.mark.parametrize("scale", ["offline", "full"])


@pytest.fixture(scope="module")
def installed() -> Installed:
    return find_installed()


def planned(paper: Paper, scale: str, installed: Installed) -> Plan:
    return plan(Grid.parse(paper.grid(scale), source=paper.name), installed)


@every_paper
@both_scales
def test_a_bundled_grid_plans_without_a_warning(paper: Paper, scale: str, installed: Installed) -> None:
    made = planned(paper, scale, installed)
    assert made.grid.name == paper.name
    assert made.grid.title and made.grid.claims
    assert made.warnings == ()


@every_paper
def test_the_offline_grid_needs_no_data_and_no_weights_from_elsewhere(paper: Paper, installed: Installed) -> None:
    for trial in planned(paper, "offline", installed).trials:
        assert trial.dataset.use in DATA_OF_THE_MACHINE
        assert trial.model.params.get("weights", "") in ("", "untrained")


@every_paper
def test_the_full_grid_is_on_published_data(paper: Paper, installed: Installed) -> None:
    names = {trial.dataset.use for trial in planned(paper, "full", installed).trials}
    assert names and not names & DATA_OF_THE_MACHINE


@every_paper
def test_published_numbers_are_complete(paper: Paper) -> None:
    rows = paper.published()
    assert len(rows) == PUBLISHED_COUNTS.get(paper.name, len(rows))
    assert set(paper.columns) <= set(rows[0])


@every_paper
def test_a_paper_says_what_it_is_and_how_ours_departs(paper: Paper) -> None:
    assert paper.citation.startswith(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) and paper.title in paper.citation
    assert paper.paper.startswith("https://")
    assert paper.notes().startswith("# ") and len(paper.notes()) > 300


@every_paper
@both_scales
def test_claims_of_both_scales_have_the_same_texts(paper: Paper, scale: str) -> None:
    texts = [[claim.text for claim in Grid.parse(paper.grid(s)).claims] for s in ("offline", scale)]
    assert texts[0] == texts[1] and len(set(texts[0])) == len(texts[0])


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """A database with a run and without results."""
    grid = Grid.parse(PAPERS["rohlicek-2020"].grid("offline"))
    with measured.stored(tmp_path_factory.mktemp("nothing"), grid, [], lambda trial: {}) as results:
        yield results


@every_paper
def test_without_results_no_claim_is_decided_and_no_query_fails(paper: Paper, nothing: Results) -> None:
    for claim in Grid.parse(paper.grid("offline")).claims:
        (row,) = nothing.query(claim.sql).to_dicts()
        assert row["held"] is None, claim.text
    ours = nothing.query(paper.comparison()).to_dicts()
    assert ours and len(ours) <= len(paper.published())


def made_up(trial: Trial) -> dict[str, Any]:
    """Every pruned trial at a tenth of the size, three times as fast, as good as dense."""
    if trial.method.use == "dense":
        return {}
    return {
        "nonzero_parameter_count": 100,
        "mac_count": 2000,
        "stored_bytes": 200,
        "speedup": 3.0,
    }


def found_something(row: dict[str, Any]) -> bool:
    """Whether a claim's numbers stand for any trial."""
    numbers = {name: value for name, value in row.items() if name != "held" and value is not None}
    return any(value for name, value in numbers.items() if name.endswith("_count")) or any(
        not name.endswith("_count") for name in numbers
    )


@every_paper
def test_every_claim_finds_the_trials_that_the_offline_grid_plans(
    paper: Paper, installed: Installed, tmp_path: Path
) -> None:
    made = planned(paper, "offline", installed)
    with measured.stored(tmp_path, made.grid, made.trials, made_up) as results:
        for claim in made.grid.claims:
            (row,) = results.query(claim.sql).to_dicts()
            assert found_something(row), (claim.text, row)
        ours = results.query(paper.comparison())
    assert any(ours[column].is_not_null().any() for column in ours.columns if column.startswith(("our", "ours")))


def rohlicek_facts(trial: Trial) -> dict[str, Any]:
    """What the tables say of this trial, the dense network at 93 %."""
    params = trial.method.params
    for row in PAPERS["rohlicek-2020"].published():
        section = {"fully_connected": "fc", "convolutional": "conv"}[row["section"]]
        setting = float(row["setting"]) / (1 if row["setting_unit"] == "rank" else 100)
        same_section = params.get("section", "conv") == section
        if row["method"] == trial.method.use and same_section and setting in (params.get("keep"), params.get("rank")):
            count = int(row["parameters"])
            whole = 82_554 if trial.method.use == "magnitude" else count
            accuracy = float(row["top1_percent"]) / 100
            return {"top1_accuracy": accuracy, "parameter_count": whole, "nonzero_parameter_count": count}
    assert trial.method.use == "dense"
    return {"top1_accuracy": 0.93, "parameter_count": 82_554, "nonzero_parameter_count": 82_554}


def test_claims_of_rohlicek_hold_on_the_published_numbers(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["rohlicek-2020"], "offline", installed)
    measured.stored(tmp_path, made.grid, made.trials, rohlicek_facts).close()
    verdicts = check_claims(tmp_path / "results.duckdb", "run-1")
    assert {verdict.text: verdict.verdict for verdict in verdicts} == {claim.text: "held" for claim in made.grid.claims}
    assert verdicts[0].numbers == {"equal_count": 19, "measured_count": 19}


def test_one_wrong_parameter_count_is_a_claim_not_held(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["rohlicek-2020"], "offline", installed)

    def one_off(trial: Trial) -> dict[str, Any]:
        facts = rohlicek_facts(trial)
        return {**facts, "parameter_count": 82_047} if trial.method.params.get("rank") == 10 else facts

    with measured.stored(tmp_path, made.grid, made.trials, one_off) as results:
        (row,) = results.query(made.grid.claims[0].sql).to_dicts()
    assert row == {"held": False, "equal_count": 18, "measured_count": 19}


def test_the_table_of_rohlicek_lays_nineteen_equal_counts_side_by_side(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["rohlicek-2020"], "offline", installed)
    with measured.stored(tmp_path, made.grid, made.trials, rohlicek_facts) as results:
        rows = results.query(PAPERS["rohlicek-2020"].comparison()).to_dicts()
    assert len(rows) == 19 and all(row["our_parameters"] == row["published_parameters"] for row in rows)
    assert {row["scale"] for row in rows} == {"offline"}
    for row in rows:
        assert row["our_top1_percent"] == pytest.approx(row["published_top1_percent"])


def test_the_nineteen_counts_of_rohlicek_follow_in_closed_form(installed: Installed) -> None:
    network = LeNet5().build(26)
    shapes = layer_shapes(network, torch.zeros(1, 1, 32, 32))
    classes = {cls.name: cls for cls in methods()}
    found = {}
    for trial in planned(PAPERS["rohlicek-2020"], "offline", installed).trials:
        counts = create(classes[trial.method.use], trial.method.params).counts(shapes)
        assert counts is not None
        is_masked = trial.method.use == "magnitude"
        total = sum(layer.nonzero_parameter_count if is_masked else layer.parameter_count for layer in counts)
        assert trial.method.use == "dense" or total == rohlicek_facts(trial)["nonzero_parameter_count"], trial.method
        found[trial.method.text] = total
    assert len(found) == 20 and 82_554 in found.values()


def test_randomized_multiplication_that_helps_refutes_the_claim(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["ravan-ebanks-2024"], "offline", installed)
    (claim,) = (claim for claim in made.grid.claims if claim.text.startswith("Randomized multiplication does not"))
    trials = [trial for trial in made.trials if trial.method.use in ("dense", "random_matmul") and trial.seed == 0]
    for speedup, held in ((3.0, False), (0.5, True)):
        folder = tmp_path / str(speedup)
        folder.mkdir()

        def facts(trial: Trial, speedup: float = speedup) -> dict[str, Any]:
            return {**made_up(trial), "speedup": 1.0 if trial.method.use == "dense" else speedup}

        with measured.stored(folder, made.grid, trials, facts) as results:
            assert results.query(claim.sql)["held"][0] is held


def test_ravans_figures_get_our_points_at_the_same_settings(installed: Installed, tmp_path: Path) -> None:
    paper = PAPERS["ravan-ebanks-2024"]
    made = planned(paper, "full", installed)
    trials = [trial for trial in made.trials if trial.seed == 0]
    points = {(row["model"], row["method"], row["value"]) for row in paper.published() if row["method"] != "dense"}
    with measured.stored(tmp_path, made.grid, trials, made_up, scale="full") as results:
        rows = results.query(paper.comparison()).to_dicts()
    assert len(rows) == len(points)
    missing = [(row["figure"], row["setting"]) for row in rows if row["our_top1_percent"] is None]
    assert missing == []


@pytest.mark.parametrize("row", PAPERS["denton-2014"].published()[:6], ids=lambda row: f"{row['layer']}-{row['rank']}")
def test_dentons_weight_reductions_follow_from_the_formula(row: dict[str, str]) -> None:
    inputs, outputs, rank = (int(row[name]) for name in ("inputs", "outputs", "rank"))
    reduction = inputs * outputs / (rank * (inputs + outputs))
    printed = row["weight_reduction"]
    last_digit = 10.0 ** -len(printed.partition(".")[2])
    assert abs(reduction - float(printed)) < last_digit + 1e-9 or (printed == "3.14" and 3.14 < reduction < 3.16)


def test_dentons_claim_is_the_formula(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["denton-2014"], "offline", installed)
    with measured.stored(tmp_path, made.grid, made.trials, made_up) as results:
        (row,) = results.query(made.grid.claims[0].sql).to_dicts()
    assert row["held"] is True and row["measured_count"] == 4
    assert row["largest_difference"] == pytest.approx(4096 / 500 - 8.1)


def test_a_headline_is_compared_with_the_best_of_ours_that_loses_no_more(installed: Installed, tmp_path: Path) -> None:
    paper = PAPERS["jaderberg-2014"]
    made = planned(paper, "offline", installed)

    def ranked(trial: Trial) -> dict[str, Any]:
        is_best = trial.method.use == "spatial_svd" and trial.method.params["rank"] == 16
        facts = {"top1_accuracy": 0.893, "speedup": 3.3 if is_best else 2.9}
        return {} if trial.method.use == "dense" else {**made_up(trial), **facts}

    with measured.stored(tmp_path, made.grid, made.trials, ranked) as results:
        rows = {row["published_value"]: row for row in results.query(paper.comparison()).to_dicts()}
    assert rows[2.5]["our_value"] is None  # every one of ours loses 0.7 points, and this row allows none
    assert rows[4.5]["our_value"] == pytest.approx(3.3) and "rank=16" in rows[4.5]["our_method"]


def test_published_files_have_no_stray_cells() -> None:
    for paper in PAPERS.values():
        with (paper.folder / "published.csv").open(encoding="utf-8", newline="") as file:
            widths = {len(row) for row in csv.reader(file)}
        assert len(widths) == 1


GRIDS = sorted((Path(__file__).parents[3] / "grids").glob("*.toml"))


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_the_grids_at_hand_plan_and_their_claims_find_their_trials(
    path: Path, installed: Installed, tmp_path: Path
) -> None:
    made = plan(Grid.load(path), installed)
    with measured.stored(tmp_path, made.grid, made.trials, made_up) as results:
        for claim in made.grid.claims:
            (row,) = results.query(claim.sql).to_dicts()
            assert found_something(row), (claim.text, row)


FIGURES = {
    "ravan_random_matmul": 4,
    "ravan_pca": 2,
    "ravan_low_rank": 5,
    "ravan_garg": 1,
}  # chart -> panels of the paper


def test_ravans_figures_lay_our_lines_over_every_published_point(installed: Installed, tmp_path: Path) -> None:
    paper = PAPERS["ravan-ebanks-2024"]
    made = planned(paper, "full", installed)
    trials = [trial for trial in made.trials if trial.seed < 2]
    measured.stored(tmp_path, made.grid, trials, made_up, scale="full").close()
    point_count = 0
    for chart in paper_charts(paper):
        with open_results(tmp_path / "results.duckdb") as results:
            rows = results.query(Scope("run-1").limit(chart.sql)).to_dicts()
        assert len({row["panel"] for row in rows}) == FIGURES[chart.name]
        assert all(row["panel"].endswith("full") for row in rows)
        ours = {(row["panel"], row["swept"]) for row in rows if row["source"] == "ours" and row["series"] == "as run"}
        theirs = [row for row in rows if row["source"] == "published" and row["series"] == "as run"]
        point_count += len(theirs)
        for row in theirs:
            assert any(panel == row["panel"] and abs(swept - row["swept"]) < 1e-3 for panel, swept in ours), row
        faster = [row for row in rows if row["source"] == "ours" and row["series"] == "as run"]
        assert all(
            row["time_ratio"] == pytest.approx(1 / 3) and row["accuracy"] == pytest.approx(0.9) for row in faster
        )
    assert point_count == sum(row["method"] != "dense" for row in paper.published())


def test_untrained_networks_have_times_and_no_accuracy_in_a_figure(installed: Installed, tmp_path: Path) -> None:
    paper = PAPERS["ravan-ebanks-2024"]
    made = planned(paper, "offline", installed)
    measured.stored(tmp_path, made.grid, made.trials, made_up).close()
    queries = {chart.name: chart.sql for chart in paper_charts(paper)}
    with open_results(tmp_path / "results.duckdb") as results:
        rows = results.query(Scope("run-1").limit(queries["ravan_low_rank"])).to_dicts()
    ours = [row for row in rows if row["source"] == "ours" and row["series"] != "dense"]
    untrained = [row for row in ours if "AlexNet" in row["panel"]]
    assert untrained and all(row["accuracy"] is None and row["time_ratio"] for row in untrained)
    assert all(row["accuracy"] is not None for row in ours if "FCN" in row["panel"] or "letters" in row["panel"])


def test_a_papers_page_draws_its_figures(installed: Installed, tmp_path: Path) -> None:
    made = planned(PAPERS["ravan-ebanks-2024"], "offline", installed)
    measured.stored(tmp_path, made.grid, made.trials, made_up).close()
    page = write_report(tmp_path / "results.duckdb", "run-1", tmp_path / "page.html", paper="ravan-ebanks-2024")
    text = page.read_text(encoding="utf-8")
    assert all(f'id="chart-{name}"' in text for name in FIGURES)
    assert "could not be drawn" not in text.split("<script")[0]
