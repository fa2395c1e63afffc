"""`bench papers`: the list, a paper's grid ready to be saved, and what is said of a broken one."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from prunebench.cli import main
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.judging.claims import Verdict
from prunebench.plugins.discovery import find_installed
from prunebench.records import Trial
from prunebench.report.outdated_rows import since
from prunebench.report.verdict_sections import claims_section
from prunebench.testing import check_paper
from prunebench_papers import papers
from prunebench_papers.founding import Rohlicek2020

sys.path.insert(0, str(Path(__file__).parent))
import measured

PAPERS = papers()

PLUGIN = """
from dataclasses import dataclass
from pathlib import Path
from prunebench import Paper, hookimpl

@dataclass(frozen=True)
class Mine(Paper):
    \"\"\"One number.\"\"\"
    name = "NAME"
    title = "Mine"
    citation = "Me: Mine. 2026."
    folder = Path(__file__).parent
    columns = ("value",)

@hookimpl
def papers():
    return [Mine]
"""
GRID = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nmethod = "dense"\n'


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["papers", *arguments])
    return ended.value.code


def plugin(folder: Path, name: str = "mine", files: tuple[str, ...] = ("offline.toml", "full.toml")) -> str:
    (folder / "mine.py").write_text(f"# {folder}\n" + PLUGIN.replace("NAME", name))
    for file in files:
        (folder / file).write_text(GRID)
    return str(folder / "mine.py")


def test_the_list_says_what_each_paper_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    facts = {fact["name"]: fact for fact in json.loads(capsys.readouterr().out)}
    assert len(facts) == 22 and not any(fact["fault"] for fact in facts.values())
    assert facts["rohlicek-2020"]["cells"] == {"offline": 19, "full": 95}
    assert facts["rohlicek-2020"]["datasets"] == {"offline": ["rendered_letters"], "full": ["emnist_letters"]}


def test_the_table_names_every_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "frankle-2019" in capsys.readouterr().out


@pytest.mark.parametrize("scale", ["offline", "full"])
def test_a_grid_is_shown_as_it_is_run(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "rohlicek-2020", "--scale", scale) == 0
    shown = capsys.readouterr().out
    assert shown == Rohlicek2020().grid(scale)
    assert tomllib.loads(shown)["name"] == "rohlicek-2020"


def test_without_a_scale_the_one_at_hand_is_shown_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "rohlicek-2020", "--data-dir", str(tmp_path)) == 0
    shown = capsys.readouterr()
    assert shown.out == Rohlicek2020().grid("offline")
    assert "scale offline" in shown.err


@pytest.mark.parametrize(("part", "said"), [("--notes", "# Rohlicek"), ("--sql", "82251"), ("--published", "88.173")])
def test_other_parts_of_a_paper_are_shown(part: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "rohlicek-2020", part) == 0
    assert said in capsys.readouterr().out


def test_a_paper_as_json_holds_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "denton-2014", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["published"]) == 9 and "select" in facts["comparison"] and "[[block]]" in facts["grid"]["full"]


def test_an_unknown_paper_is_one_line_with_the_close_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "rohlicek-202") == 2
    error = capsys.readouterr().err
    assert "did you mean 'rohlicek-2020'" in error and error.count("\n") == 1


def test_a_paper_without_its_grid_is_a_line_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--plugin", plugin(tmp_path, files=("full.toml",)), "--json") == 0
    facts = {fact["name"]: fact for fact in json.loads(capsys.readouterr().out)}
    assert "offline.toml cannot be read" in facts["mine"]["fault"] and not facts["denton-2014"]["fault"]


def test_a_missing_column_is_one_line_with_the_columns_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "published.csv").write_text("model,top1\nlenet5,90\n")
    assert run("--plugin", plugin(tmp_path), "show", "mine", "--published") == 2
    error = capsys.readouterr().err
    assert "has no column 'value'; it has model, top1" in error and error.count("\n") == 1


def test_a_name_that_two_plugins_claim_is_refused_naming_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--plugin", plugin(tmp_path, name="rohlicek-2020"), "show", "rohlicek-2020") == 2
    error = capsys.readouterr().err
    assert "claimed by" in error and "mine.py" in error and error.count("\n") == 1


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_grid_that_two_plugins_claim_is_not_run(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = plugin(tmp_path, name="rohlicek-2020")
    assert bench(verb, "--grid", "rohlicek-2020", "--plugin", twin, "--db", str(tmp_path / "r.duckdb")) == 2
    error = capsys.readouterr().err
    assert "claimed by" in error and "mine.py" in error and "prunebench" in error and error.count("\n") == 1
    assert not (tmp_path / "r.duckdb").exists()


@pytest.mark.parametrize("name", [cls.name for cls in PAPERS])
def test_a_shown_grid_plans_as_a_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scale in ("offline", "full"):
        assert run("show", name, "--scale", scale) == 0
        (tmp_path / "my.toml").write_text(capsys.readouterr().out)
        database = str(tmp_path / "r.duckdb")
        assert bench("plan", "--grid", str(tmp_path / "my.toml"), "--db", database, "--json") == 0
        of_file = json.loads(capsys.readouterr().out)
        assert bench("plan", "--grid", name, "--scale", scale, "--db", database, "--json") == 0
        of_name = json.loads(capsys.readouterr().out)
        assert of_file["trials"] == of_name["trials"] and of_file["trials"]


def test_a_claim_whose_query_fails_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = '[[claim]]\ntext = "Smaller"\nsql = "select no_such_column > 1 as held from trials"\n'
    grid = Grid.parse(GRID + claims, name="mine", source="mine")
    measured.stored(tmp_path, grid, plan(grid, find_installed()).trials, lambda trial: {}).close()
    assert bench("claims", "mine", "--db", str(tmp_path / "results.duckdb")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ERROR", "Smaller"]
    assert len(lines) == 2 and "no_such_column" in lines[1]


def test_published_numbers_without_a_column_cost_the_page_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = plugin(tmp_path)
    (tmp_path / "published.csv").write_text("model,top1\nlenet5,90\n")
    grid = Grid.parse(GRID, name="mine", source="mine")
    measured.stored(tmp_path, grid, plan(grid, find_installed()).trials, lambda trial: {}).close()
    assert bench("report", "--paper", "mine", "--plugin", mine, "--db", str(tmp_path / "results.duckdb")) == 2
    error = capsys.readouterr().err
    assert "has no column 'value'; it has model, top1" in error and error.count("\n") == 1


def test_a_ledger_of_all_papers_is_refused_where_two_claim_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("ledger", "--plugin", plugin(tmp_path, name="rohlicek-2020")) == 2
    error = capsys.readouterr().err
    assert "paper 'rohlicek-2020' is claimed by" in error and error.count("\n") == 1


def test_the_kit_names_a_column_that_a_claim_asks_for_and_no_view_has(tmp_path: Path) -> None:
    plugin(tmp_path)
    (tmp_path / "published.csv").write_text("value\n1\n")
    claims = '[[claim]]\ntext = "Smaller"\nsql = "select no_such_column > 1 as held from trials"\n'
    (tmp_path / "full.toml").write_text(GRID + claims)
    (found,) = check_paper(find_installed([tmp_path / "mine.py"]).find("paper", "mine").cls)
    assert found.check == "claim 'Smaller'" and "no_such_column" in found.seen and "\n" not in str(found)


def older(trial: Trial) -> Trial:
    """The trial as another calibration would have it: another protocol, so another id."""
    return replace(trial, protocol=replace(trial.protocol, calibration=7))


def test_claims_on_rows_of_an_older_protocol_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid.parse(Rohlicek2020().grid("offline"), source="rohlicek-2020")
    asked = plan(grid, find_installed()).trials
    mixed = [older(trial) if place < 3 else trial for place, trial in enumerate(asked)]
    other = replace(grid, claims=(replace(grid.claims[0], sql="select true as held"), *grid.claims[1:]))
    for run, made, trials in (("today", grid, asked), ("mixed", other, mixed)):
        measured.stored(tmp_path, made, trials, lambda trial: {}, run_id=run).close()
        bench("claims", run, "--db", str(tmp_path / "results.duckdb"), "--json")
        told = [claim["since"] for claim in json.loads(capsys.readouterr().out)]
        old = f"3 of {len(asked)} rows use a protocol that rohlicek-2020 asks for no longer" if run == "mixed" else ""
        assert told[1:] == [old] * (len(grid.claims) - 1)
    assert told[0] == f"{old}; rohlicek-2020 now has another comparison query, or none"
    assert told[0] in claims_section(told_by(other, told))


def told_by(grid: Grid, since: list[str]) -> Future[Sequence[Verdict]]:
    """Verdicts as the page takes them."""
    future: Future[Sequence[Verdict]] = Future()
    pairs = zip(grid.claims, since, strict=True)
    future.set_result([Verdict(claim.text, claim.sql, "held", since=text) for claim, text in pairs])
    return future


def test_the_run_of_a_grid_file_is_held_against_no_paper(tmp_path: Path) -> None:
    grid = Grid.parse(Rohlicek2020().grid("offline"), source="rohlicek-2020")
    trials = [older(trial) for trial in plan(grid, find_installed()).trials[:1]]
    measured.stored(tmp_path, grid, trials, lambda trial: {}, scale="").close()
    assert since(tmp_path / "results.duckdb", "run-1") is None
