"""A number that rests on one seed says so, in the same words, wherever it is shown."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
import store_samples as samples
from click.testing import CliRunner
from prunebench.cli import compare as compare_verb
from prunebench.cli import query as query_verb
from prunebench.cli import show as show_verb
from prunebench.records import Result
from prunebench.store import Store
from prunebench.store.queries import saved_queries, saved_query

VIEWS = ("trial_means", "speedup_means", "pareto", "speedups")
AVERAGED = [name for name in saved_queries() if any(f"from {view}\n" in saved_query(name) for view in VIEWS)]


def call(verb: Any, store: Store, *arguments: str) -> Any:
    return CliRunner().invoke(verb.command, [*arguments, "--db", str(store.path)], catch_exceptions=False)


def slow(rank: int | None, seed: int, nonzero: int) -> Result:
    """A setting that keeps its accuracy, `nonzero` parameters and four fifths of the dense speed."""
    made = samples.result(samples.trial(rank, seed))
    latency = samples.latency(64, 1.0 if rank is None else 0.8, random.Random(seed))
    facts = {"nonzero_parameter_count": nonzero, "latency": (latency,), "top1_accuracy": 0.9}
    return replace(made, measurement=replace(made.measurement, **facts))


@pytest.fixture
def mixed(fill) -> Store:
    """Rank 2 and the dense network on three seeds, rank 4 on one."""
    pruned = [slow(2, seed, 800) for seed in range(3)]
    return fill(*(slow(None, seed, 2000) for seed in range(3)), *pruned, slow(4, 0, 400), run=samples.run("mixed"))


@pytest.mark.parametrize("name", AVERAGED)
def test_a_saved_query_counts_seeds_and_marks_a_single_one(mixed: Store, name: str) -> None:
    rows = json.loads(call(query_verb, mixed, "--saved", name, "--json").stdout)
    assert 1 in {row["seeds"] for row in rows} <= {1, 3}
    shown = call(query_verb, mixed, "--saved", name)
    assert "(1 seed)" in shown.stdout and "one seed" in shown.stderr
    for form, is_marked in (("--markdown", True), ("--latex", True), ("--csv", False)):
        assert ("(1 seed)" in call(query_verb, mixed, "--saved", name, form).stdout) is is_marked, form


def test_every_saved_query_over_seeds_is_covered() -> None:
    assert {"best", "methods", "pareto", "promise", "slower"} <= set(AVERAGED)


def test_several_seeds_are_not_marked(mixed: Store) -> None:
    made = call(query_verb, mixed, "select 3 as seeds, 1 as n")
    assert made.stdout.splitlines()[1].split() == ["3", "1"] and made.stderr == ""
    both = call(query_verb, mixed, "select * from (values (1, 1), (3, 3)) as t(seed_count, n)")
    assert "1 of 2 rows has one seed: what sets them apart may be chance." in both.stderr
    assert both.stdout.count("(1 seed)") == 1


@pytest.mark.parametrize(("rank", "count"), [(2, 3), (4, 1)])
def test_a_trial_is_shown_with_the_seeds_of_its_setting(mixed: Store, rank: int, count: int) -> None:
    trial_id = samples.trial(rank, 0).id
    facts = json.loads(call(show_verb, mixed, trial_id, "--json").stdout)["over_seeds"]
    assert (facts["seed_count"], facts["is_single_seed"]) == (count, count == 1)
    assert (facts["top1_accuracy_std"] is None) == (count == 1)
    assert ("(1 seed)" in call(show_verb, mixed, trial_id).stdout) == (count == 1)


def test_a_comparison_says_how_many_seeds_its_pairs_have(mixed: Store, fill) -> None:
    fill(slow(2, 0, 800), run=samples.run("one"))
    facts = json.loads(call(compare_verb, mixed, "mixed", "mixed", "--json").stdout)
    assert {d["seed_count"] for d in facts["differences"]} == {3}
    assert "(1 seed)" not in call(compare_verb, mixed, "mixed", "mixed").stdout
    facts = json.loads(call(compare_verb, mixed, "mixed", "one", "--json").stdout)
    assert {d["seed_count"] for d in facts["differences"]} == {1}
    assert any("all pairs have the same seed" in note for note in facts["notes"])
    assert "(1 seed)" in call(compare_verb, mixed, "mixed", "one").stdout
