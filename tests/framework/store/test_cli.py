"""The store's verbs as a person calls them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import store_samples as samples
from click.testing import CliRunner
from prunebench.cli import audit as audit_verb
from prunebench.cli import db as db_verb
from prunebench.cli import runs as runs_verb
from prunebench.cli import show as show_verb
from prunebench.cli import tables
from prunebench.errors import StoreError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.judging.audit import CHECKLIST, CURVE, Point, audit
from prunebench.plugins.discovery import find_installed
from prunebench.records import Choice
from prunebench.report.advice import planned
from prunebench.store import Store

EVIL = "a\x1b[31mb\x07\x00\u202ec\nd\x9b"


def call(verb: Any, *arguments: str) -> Any:
    return CliRunner().invoke(verb.command, list(arguments), standalone_mode=False)


def test_runs_lists_each_run_with_how_it_ended(fill) -> None:
    failed = samples.result(samples.trial(2), status="failed", measurement=None)
    skipped = samples.result(samples.trial(4), status="skipped", measurement=None)
    store = fill(samples.result(samples.trial(None)), failed, skipped, run=samples.run("one", trial_count=3))
    (row,) = json.loads(call(runs_verb, "--json", "--db", str(store.path)).output)
    assert (row["run"], row["trials"], row["ok"], row["skipped"], row["failed"]) == ("one", 3, 1, 1, 1)
    assert "2026-01-02 03:04" in call(runs_verb, "--db", str(store.path)).output


def test_show_prints_all_that_was_measured(fill) -> None:
    store = fill(samples.result(samples.trial(None)), samples.result(samples.trial(4)))
    trial_id = samples.trial(4).id
    facts = json.loads(call(show_verb, trial_id[:8], "--json", "--db", str(store.path)).output)
    assert facts["trial"]["trial_id"] == trial_id
    assert facts["comparison"]["mcnemar_p"] is not None
    assert [len(facts[part]) for part in ("speed", "layers", "stages", "curve", "metrics", "attempts")] == [
        2,
        1,
        1,
        1,
        1,
        1,
    ]
    output = call(show_verb, trial_id[:8], "--db", str(store.path)).output
    for expected in (trial_id, "low_rank(rank=4, keep=0.5)", "weight_error", "energy", "bench-1", "calibration"):
        assert expected in output


def test_show_says_what_each_side_chose_where_it_could(fill) -> None:
    of = samples.result(samples.trial(4))
    conditions = {"dense_memory_format": "channels_last", "dense_channels_last_gain": 1.75}
    timings = [replace(one, memory_format="fastest", conditions=conditions) for one in of.measurement.latency]
    store = fill(replace(of, measurement=replace(of.measurement, latency=tuple(timings))))
    output = call(show_verb, samples.trial(4).id, "--db", str(store.path)).output
    (line,) = [line for line in output.splitlines() if line.split()[:2] == ["64", "dense"]]
    assert line.split() == ["64", "dense", "channels_last", "1.75"]
    plain = fill(samples.result(samples.trial(8)))
    assert "channels_last_gain" not in call(show_verb, samples.trial(8).id, "--db", str(plain.path)).output


def test_a_failed_trial_shows_its_traceback(fill) -> None:
    broken = samples.result(samples.trial(4), status="failed", reason="broke", detail="Traceback", measurement=None)
    output = call(show_verb, samples.trial(4).id, "--db", str(fill(broken).path)).output
    assert "broke" in output
    assert "Traceback" in output


def test_check_is_silent_about_a_sound_database_only(fill, tmp_path: Path) -> None:
    store = fill(samples.result(samples.trial(4)))
    sound = call(db_verb, "check", "--db", str(store.path))
    assert (sound.return_value, sound.output) == (0, f"{store.path}: no faults found\n")
    with store.journals()[0].open("ab") as file:
        file.write(b"foreign\n")
    broken = call(db_verb, "check", "--json", "--db", str(store.path))
    assert broken.return_value == 1
    assert "run-1.jsonl:3" in json.loads(broken.output)["faults"][0]
    nothing = call(db_verb, "check", "--db", str(tmp_path / "none.duckdb"))
    assert isinstance(nothing.exception, StoreError)


def test_rebuild_says_what_it_found(fill) -> None:
    store = fill(samples.result(samples.trial(4)))
    facts = json.loads(call(db_verb, "rebuild", "--json", "--db", str(store.path)).output)
    assert facts["results"] == 1
    assert "before-rebuild" in facts["notes"][0]


def test_the_schema_is_printed_as_it_is_documented() -> None:
    assert call(db_verb, "schema").output.startswith("# The results database\n")


def status_of(points: list[Point], number: int) -> str:
    return points[number - 1].status


def test_an_audit_goes_through_every_point_and_says_what_would_fix_it(fill) -> None:
    store = fill(*(samples.result(samples.trial(rank)) for rank in (None, 2, 4)))
    points = audit(store.path, "run-1")
    assert [point.number for point in points] == list(range(1, len(CHECKLIST) + 1))
    assert status_of(points, 1) == status_of(points, 3) == status_of(points, 6) == status_of(points, 13) == "satisfied"
    mends = {2: "[[block]]", 5: '"low_rank", compression =', 8: "seed =", 9: '"random"', 10: '"magnitude"'}
    for number, mend in mends.items():
        assert status_of(points, number) == "missing"
        assert mend in points[number - 1].mend
    run = call(audit_verb, "run-1", "--db", str(store.path))
    assert run.return_value == 0
    assert run.output.endswith("points satisfied\n")
    assert call(audit_verb, "run-1", "--strict", "--json", "--db", str(store.path)).return_value == 1


def test_every_line_that_an_audit_proposes_is_accepted_by_plan() -> None:
    """A target where the method has a closed form, its first field where it has none, words where nothing plans."""
    installed = find_installed((), ())
    methods = [plugin.name for plugin in installed.plugins if plugin.kind == "method"]
    curves = "\n".join(f'{{ use = "{name}", compression = {CURVE} }},' for name in [*methods, "nowhere"])
    seeds = "seed = { range = [0, 3] }"
    (curve, seed) = planned([Point(5, "", "missing", "", curves), Point(8, "", "missing", "", seeds)], installed)
    lines = curve.mend.splitlines()
    assert len(lines) == len(methods) + 1 and seed.mend == seeds
    shown = [line for line in lines if line.startswith("{ use =")]
    assert len(shown) > len(methods) / 2 and {"compression" in line for line in shown} == {True, False}
    block = f'[[block]]\ndataset = "digits"\nmodel = "lenet5"\nmethod = [{" ".join(shown)}]'
    assert len(plan(Grid.parse(block, name="all"), installed).trials) > len(shown)
    assert lines[-1].startswith("nowhere: no line to show, planning refuses it: ")


def sound_results() -> list[Any]:
    """Three pairs of data set and model, three seeds, whole curves, every control."""
    tickets = [{"control": c, "rewind": "weights"} for c in ("none", "reinitialise", "shuffle", "random")]
    methods = [
        samples.trial(None).method,
        *(Choice("low_rank", {"rank": rank}) for rank in range(1, 6)),
        *(
            Choice("magnitude", {"keep": 0.1 * keep, "scope": scope})
            for keep in range(1, 6)
            for scope in ("global", "layer")
        ),
        *(Choice(name, {"keep": 0.1 * keep}) for keep in range(1, 6) for name in ("random", "random_matched")),
        *(Choice("lottery_ticket", {**ticket, "keep": 0.1 * keep}) for ticket in tickets for keep in range(1, 6)),
        Choice("lottery_ticket", {"control": "none", "rewind": "lr", "keep": 0.1}),
        Choice("lottery_ticket", {"control": "none", "rewind": "none", "keep": 0.1}),
    ]
    rows = []
    for name in ("cifar10", "flowers", "imagenet"):
        for seed in range(3):
            for number, method in enumerate(methods):
                of = samples.result(samples.trial(method=method, seed=seed, dataset=Choice(name)))
                facts = {"nonzero_parameter_count": 2000 // (1 + number % 7), "latency": of.measurement.latency[:1]}
                metrics = (*of.measurement.metrics, replace(of.measurement.metrics[0], name="corrupted_accuracy"))
                rows.append(replace(of, measurement=replace(of.measurement, metrics=metrics, **facts)))
    return rows


def test_a_sound_evaluation_passes_its_audit(fill) -> None:
    points = audit(fill(*sound_results()).path, "run-1")
    assert [(p.number, p.found) for p in points if p.status not in ("satisfied", "does not apply")] == []


def test_an_audit_of_nothing_is_all_missing(store: Store) -> None:
    store.open_run(samples.run("empty")).close()
    store.merge()
    assert {point.status for point in audit(store.path, "empty")} <= {"missing", "partly", "does not apply"}


@pytest.mark.parametrize("write", [tables.markdown_text, tables.latex_text])
def test_tables_for_documents_hold_no_control_characters(write: Any) -> None:
    text = write(["a|b"], [[EVIL]])
    assert not set(text) & set("\x1b\x07\x00\u202e\x9b")


def test_cleaning_shows_what_it_removes() -> None:
    assert tables.clean(EVIL) == r"a\x1b[31mb\x07\x00\u202ec\nd\x9b"
    assert tables.clean("Größe 日本 €") == "Größe 日本 €"
    assert len(tables.clean("x" * 10**6)) == tables.CELL_LIMIT


def test_a_table_escapes_markup_and_keeps_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table([f"column {number}" for number in range(30)], [["[bold]x[/bold]"] * 30], title="[red]t")
    output = capsys.readouterr().out
    assert "[red]t" in output
    assert output.count("[bold]x[/bold]") == 30
    assert len(output.splitlines()) == 3
