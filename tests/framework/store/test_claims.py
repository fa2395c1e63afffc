"""Claims: held, not held, cannot tell, or an error of their own line."""

from __future__ import annotations

import json

import pytest
import store_samples as samples
from click.testing import CliRunner
from prunebench.cli.claims import command
from prunebench.errors import StoreError
from prunebench.judging.claims import check_claims
from prunebench.store import Store
from prunebench.store.lookup import run_of, trial_of

CLAIMS = (
    {"text": "held", "sql": "select true as held, count(*) as trials from trials"},
    {"text": "not held", "sql": "select count(*) > 100 as held, 1.5 as x from trials", "why": "smaller nets"},
    {"text": "null", "sql": "select null as held"},
    {"text": "verdict", "sql": "select 'cannot tell' as verdict, 2 as n"},
    {"text": "odd verdict", "sql": "select 'maybe' as verdict"},
    {"text": "odd held", "sql": "select 'yes' as held"},
    {"text": "no column", "sql": "select 1 as n"},
    {"text": "two rows", "sql": "select true as held from range(2)"},
    {"text": "no row", "sql": "select true as held where false"},
    {"text": "wrong", "sql": "select nope"},
    {"text": "hostile", "sql": "copy trials to '/tmp/prunebench-claims-attack'"},
)


@pytest.fixture
def claimed(fill) -> Store:
    """Two runs: the second asks for one trial of the first and one of its own."""
    fill(*(samples.result(samples.trial(rank)) for rank in (None, 2, 4)))
    asked = (samples.trial(4).id, samples.trial(8).id)
    return fill(samples.result(samples.trial(8)), run=samples.run("claims", claims=CLAIMS, trial_ids=asked))


def test_each_claim_has_its_verdict_and_its_numbers(claimed: Store) -> None:
    verdicts = {verdict.text: verdict for verdict in check_claims(claimed.path, "claims")}
    assert {name: verdict.verdict for name, verdict in verdicts.items()} == {
        "held": "held", "not held": "not held", "null": "cannot tell", "verdict": "cannot tell",
        **dict.fromkeys(("odd verdict", "odd held", "no column", "two rows", "no row", "wrong", "hostile"), "error"),
    }  # fmt: skip
    assert verdicts["held"].numbers == {"trials": 2}  # only what the run's grid asked for
    assert verdicts["not held"].why == "smaller nets"
    assert "nope" in verdicts["wrong"].why_not
    assert "copy is not allowed" in verdicts["hostile"].why_not
    assert "verdict must be one of held, not held, cannot tell, got 'maybe'" in verdicts["odd verdict"].why_not


def test_the_command_prints_a_line_a_claim_and_fails_for_errors(claimed: Store) -> None:
    made = CliRunner().invoke(command, ["claims", "--db", str(claimed.path)], standalone_mode=False)
    assert made.return_value == 1
    assert "held        held (1 seed)\n            trials = 2\n" in made.output
    assert "NOT HELD    not held (1 seed)\n            x = 1.5\n            smaller nets\n" in made.output
    listed = json.loads(CliRunner().invoke(command, ["claims", "--json", "--db", str(claimed.path)]).output)
    assert [claim["text"] for claim in listed] == [claim["text"] for claim in CLAIMS]


def test_a_claim_says_when_it_rests_on_one_seed(fill) -> None:
    claims = (
        {"text": "own count", "sql": "select true as held, 1 as seed_count"},
        {"text": "no count", "sql": "select true as held"},
        {"text": "wrong", "sql": "select nope"},
    )
    made = [samples.result(samples.trial(rank, seed)) for rank in (None, 2) for seed in range(3)]
    store = fill(*made, run=samples.run("claims", claims=claims, trial_ids=tuple(each.trial.id for each in made)))
    assert [verdict.seed_count for verdict in check_claims(store.path, "claims")] == [1, 3, None]
    shown = CliRunner().invoke(command, ["claims", "--db", str(store.path)]).output
    assert "own count (1 seed)\n" in shown and "no count\n" in shown and "wrong\n" in shown


def test_a_run_without_claims_has_none(claimed: Store) -> None:
    assert check_claims(claimed.path, "run-1") == []
    with pytest.raises(StoreError, match="no run 'none' here"):
        check_claims(claimed.path, "none")


def test_a_run_is_found_by_id_beginning_or_the_grids_name(claimed: Store) -> None:
    assert [run_of(claimed.path, text) for text in ("run-1", "cl", "toy")] == ["run-1", "claims", "run-1"]
    with pytest.raises(StoreError, match="no run 'clamis', did you mean 'claims'"):
        run_of(claimed.path, "clamis")


def test_a_trial_is_found_by_the_beginning_of_its_id(claimed: Store) -> None:
    whole = samples.trial(4).id
    assert trial_of(claimed.path, whole[:6]) == whole
    from prunebench.errors import QueryError

    with pytest.raises(QueryError, match="no trial 'zz'"):
        trial_of(claimed.path, "zz")
    with pytest.raises(QueryError, match="no trial ''"):
        trial_of(claimed.path, "")
