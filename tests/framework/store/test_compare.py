"""Two sides, paired: a regression is found, noise is not called one."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
import store_samples as samples
from click.testing import CliRunner
from prunebench.cli.compare import command
from prunebench.errors import QueryError
from prunebench.judging.compare import compare
from prunebench.records import Choice, Protocol, Provenance, Recipe, Result
from prunebench.store import Store


def scored(
    rank: int | None, seed: int, accuracy: float, speedup: float = 1.5, where: Provenance | None = None
) -> Result:
    of = samples.result(samples.trial(rank, seed), provenance=where or samples.PROVENANCE)
    latency = samples.latency(64, speedup, random.Random(seed))
    return replace(of, measurement=replace(of.measurement, top1_accuracy=accuracy, latency=(latency,)))


@pytest.fixture
def two(fill) -> Any:
    """`two(change)`: run a, and run b with `change(accuracy, speedup)` applied, over four seeds and two ranks."""

    def make(change: Any, where: Provenance | None = None) -> Store:
        rng = random.Random(0)
        cells = [(rank, seed, rng.uniform(0.8, 0.9), rng.uniform(1.4, 1.6)) for rank in (2, 4) for seed in range(4)]
        fill(*(scored(*cell) for cell in cells), run=samples.run("a"))
        changed = [(rank, seed, *change(accuracy, speedup, rng)) for rank, seed, accuracy, speedup in cells]
        return fill(*(scored(*cell, where=where) for cell in changed), run=samples.run("b"))

    return make


def verdicts(store: Store, a: str = "a", b: str = "b", **options: Any) -> dict[str, str]:
    return {d.metric: d.verdict for d in compare(store.path, a, b, **options).differences}


def test_the_same_numbers_are_no_regression(two) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy, speedup))
    made = compare(store.path, "a", "b")
    assert made.pair_count == made.a_count == made.b_count == 8
    assert set(verdicts(store).values()) == {"same"}
    assert not made.has_regression


def test_a_steady_loss_is_a_regression_unless_it_is_tolerated(two) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy - 0.02 + rng.uniform(-0.005, 0.005), speedup))
    assert verdicts(store)["top1_accuracy"] == "worse"
    assert verdicts(store, "b", "a")["top1_accuracy"] == "better"
    assert verdicts(store, tolerance=0.05)["top1_accuracy"] == "same"
    run = CliRunner().invoke(command, ["a", "b", "--db", str(store.path)], standalone_mode=False)
    assert run.return_value == 1
    assert "B is worse" in run.output
    facts = json.loads(CliRunner().invoke(command, ["a", "b", "--json", "--db", str(store.path)]).output)
    assert facts["regression"] is True


def test_noise_is_not_called_a_regression(two) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy + rng.uniform(-0.02, 0.02), speedup * rng.uniform(0.97, 1.03)))
    made = compare(store.path, "a", "b")
    assert not made.has_regression
    assert verdicts(store)["top1_accuracy"] == "can't tell"


def test_a_slower_network_is_a_regression_and_a_half_percent_is_not(two) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy, speedup * 0.9))
    assert verdicts(store)["speedup"] == "worse"
    difference = next(d for d in compare(store.path, "a", "b").differences if d.metric == "speedup")
    assert difference.effect == pytest.approx(0.9)


def test_half_a_percent_of_speed_is_below_what_a_machine_can_tell(two) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy, speedup * 0.995))
    assert verdicts(store)["speedup"] == "same"


def test_speed_is_not_compared_between_machines(two) -> None:
    other = replace(samples.PROVENANCE, host="elsewhere")
    store = two(lambda accuracy, speedup, rng: (accuracy, speedup * 0.5), where=other)
    assert "speedup" not in verdicts(store)
    assert "speed is compared only" in compare(store.path, "a", "b").notes[0]
    assert compare(store.path, "host:bench-1", "host:elsewhere").pair_count == 8


def test_a_trial_that_broke_is_a_regression(two, fill) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy, speedup))
    broken = samples.result(samples.trial(2, 0), status="failed", measurement=None)
    fill(broken, run=samples.run("c"))
    made = compare(store.path, "a", "c")
    assert (made.pair_count, made.lost_count, made.has_regression) == (0, 1, True)


def test_versions_are_paired_on_the_trial(two) -> None:
    newer = replace(samples.PROVENANCE, prunebench="0.2.0")
    store = two(lambda accuracy, speedup, rng: (accuracy - 0.1, speedup), where=newer)
    assert verdicts(store, "version:0.1.0", "version:0.2.0")["top1_accuracy"] == "worse"


def test_methods_are_paired_on_what_they_share(fill) -> None:
    rows = [scored(None, seed, 0.95, 1.0) for seed in range(3)] + [scored(4, seed, 0.85) for seed in range(3)]
    store = fill(*rows)
    made = compare(store.path, "method:dense", "method:low_rank")
    assert made.pair_count == 3
    assert verdicts(store, "method:dense", "method:low_rank(rank=4, keep=0.5)")["top1_accuracy"] == "worse"


def test_a_side_that_is_empty_or_shares_nothing_is_an_error(two, fill) -> None:
    store = two(lambda accuracy, speedup, rng: (accuracy, speedup))
    with pytest.raises(QueryError, match="'method:none': no results"):
        compare(store.path, "a", "method:none")
    fill(scored(16, 0, 0.5), run=samples.run("apart"))
    with pytest.raises(QueryError, match="have no dataset, model, method, seed in common"):
        compare(store.path, "a", "apart")


def test_runs_of_other_protocols_pair_by_setting_and_say_the_keys(fill) -> None:
    other = Protocol(train=Recipe(epochs=77), finetune=Recipe(epochs=3))
    for name, protocol, accuracy in (("a", Protocol(), 0.9), ("b", other, 0.8)):
        rows = [samples.result(samples.trial(4, seed, protocol=protocol), accuracy) for seed in range(3)]
        store = fill(*rows, run=samples.run(name))
    made = compare(store.path, "a", "b")
    assert made.pair_count == 3
    (said,) = [note for note in made.notes if note.startswith("the protocols")]
    assert said == "the protocols of A and B differ in finetune.epochs (A 0, B 3), train.epochs (A 10, B 77)"
    assert any("no trial in common" in note for note in made.notes)


def test_methods_with_several_settings_pair_at_the_nearest_compression(fill) -> None:
    """Dense parameters are 2,000: random leaves 990 and 240; low rank 1,000, 500 and 100. Only 990 has a near one."""
    rows = [samples.result(samples.trial(None))]
    kept = {("low_rank", 2): 1000, ("low_rank", 4): 500, ("low_rank", 8): 100, ("random", 2): 990, ("random", 3): 240}
    for (method, rank), count in kept.items():
        of = samples.result(samples.trial(method=Choice(method, {"rank": rank})))
        rows.append(replace(of, measurement=replace(of.measurement, nonzero_parameter_count=count)))
    made = compare(fill(*rows).path, "method:low_rank", "method:random")
    assert made.pair_count == 1
    (ratio,) = [d for d in made.differences if d.metric == "compression_ratio"]
    assert (ratio.a, ratio.b) == pytest.approx((2.0, 2000 / 990))
    assert any("nearest compression" in note for note in made.notes)


def test_a_single_pair_that_differs_cannot_tell(fill) -> None:
    fill(scored(4, 0, 0.9), run=samples.run("a"))
    store = fill(scored(4, 0, 0.8), run=samples.run("b"))
    assert verdicts(store)["top1_accuracy"] == "can't tell"
