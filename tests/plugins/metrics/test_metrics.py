"""Metrics: numbers beyond accuracy, from a plugin to the row."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
from prunebench import Metric, Model, NotApplicable, TensorSplit, param
from prunebench.errors import GridError, PlanError, PluginError
from prunebench.grid import lines
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import class_fault
from prunebench.records import Protocol
from prunebench.testing import check_metric
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from prunebench_metrics import metrics
from prunebench_metrics.agreement import Agreement
from torch import nn
from toys import toy_installed

GRID = """
[protocol]
train = { epochs = 2, batch_size = 16, lr = 1e-2 }
latency = { batch = [] }
METRICS
[[block]]
dataset = "blobs"
model = "tiny"
seed = 0
method = { use = "keep", share = 0.3 }
"""


@dataclass(frozen=True)
class Toy(Metric):
    """A metric that the tests bend."""

    name = "toy"
    units = {"n": "count"}

    def measure(self, network, dense, test, device):
        return {"n": float(len(test))}


class Unnamed(Toy):
    def measure(self, network, dense, test, device):
        return {"other": 1.0}


class Endless(Toy):
    def measure(self, network, dense, test, device):
        return {"n": float("inf")}


class Vandal(Toy):
    def measure(self, network, dense, test, device):
        next(network.parameters()).data.zero_()
        return {"n": 1.0}


class Drawn(Toy):
    def measure(self, network, dense, test, device):
        return {"n": float(torch.rand(()))}


class Unwilling(Toy):
    def measure(self, network, dense, test, device):
        raise NotApplicable("not on a Tuesday")


def results(tmp_path, named: str, *more: type[Metric]):
    installed = toy_installed()
    for cls in (Agreement, *more):
        installed = installed.named("metric", cls.name, cls)
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "c", disabled_plugins=("all",), threads=1)
    bench.installed = installed
    trials = plan(Grid.parse(GRID.replace("METRICS", named)), installed).trials
    return [run_trial(trial, bench) for trial in trials]


# What a process or a call takes is measured anew, and no two are alike, as the kit asks: their own tests judge them.
CALCULATED = [cls for cls in metrics() if cls.name not in ("process_memory", "energy")]


@pytest.mark.parametrize("cls", CALCULATED, ids=lambda cls: cls.name)
def test_the_kit_finds_nothing_in_a_bundled_metric(cls):
    assert check_metric(cls, {"tasks": "arc_easy"} if cls.name == "lm_eval" else None) == []


@pytest.mark.parametrize(
    ("cls", "check", "seen"),
    [
        (Unnamed, "numbers", "'other' has no unit"),
        (Endless, "numbers", "must be a finite number"),
        (Vandal, "numbers", "changed"),
        (Drawn, "determinism", "different numbers"),
    ],
)
def test_a_wrong_metric_is_caught(cls, check, seen):
    fresh = dataclass(frozen=True)(cls)
    assert (check, True) in [(f.check, seen in f.seen) for f in check_metric(fresh)]


def test_agreement_is_what_its_definition_says():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0]]).view(3, 1, 1, 2)
    flipped = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    flipped[1].weight.data = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    test = TensorSplit(images, torch.zeros(3, dtype=torch.long))
    found = Agreement().measure(flipped, nn.Flatten(), test, torch.device("cpu"))
    assert found == {"top1": pytest.approx(2 / 3), "logit_distance": pytest.approx((2 + 4) / 6)}


def test_a_grid_that_names_a_metric_stores_its_numbers_with_units(tmp_path):
    dense, pruned = results(tmp_path, 'metrics = ["agreement"]')
    assert [(m.name, m.value) for m in dense.measurement.metrics] == [
        ("agreement.top1", 1.0),
        ("agreement.logit_distance", 0.0),
    ]
    top1, distance = pruned.measurement.metrics
    assert 0 < top1.value < 1 and top1.unit == "fraction" and distance.value > 0
    assert "metric:agreement" in pruned.provenance.plugins


def test_a_metric_that_declines_is_a_note_and_one_that_lies_a_failure(tmp_path):
    declined = results(tmp_path, 'metrics = ["toy"]', Unwilling)[-1]
    assert declined.measurement.metrics == () and "not on a Tuesday" in " ".join(declined.measurement.notes)
    failed = results(tmp_path, 'metrics = ["toy"]', Endless)[-1]
    assert failed.status == "failed" and "must be a finite number" in failed.reason


def test_metrics_are_part_of_a_trials_identity_only_where_there_are_any():
    assert "metrics" not in Protocol().text and '"metrics":["a"]' in Protocol(metrics=("a",)).text
    assert Protocol().id != Protocol(metrics=("a",)).id


def test_an_unknown_metric_is_refused_when_the_grid_is_planned(tmp_path):
    with pytest.raises(PluginError, match="no metric 'agrement' is installed, did you mean 'agreement'"):
        results(tmp_path, 'metrics = ["agrement"]')


def test_a_metric_from_the_future_is_left_out_with_the_fix():
    future = type("Future", (Toy,), {"api_version": 99})
    assert "needs plugin API 99" in class_fault(future, Metric) and "upgrade prunebench" in class_fault(future, Metric)


@dataclass(frozen=True)
class Scaled(Metric):
    """A metric with settings, which asks the model, too."""

    name = "scaled"
    units = {"n": "count"}
    factor: float = param(1.0, "what the number is multiplied by", above=0)
    words: str = param("", "what is counted as well")

    def named_code(self) -> str:
        return self.words

    def measure(self, network, dense, test, device):
        raise NotApplicable("no model")

    def measure_with(self, model, network, dense, test, device):
        assert isinstance(model, Model)
        return {"small_n": self.factor}

    def unit(self, number):
        return self.units[number.removeprefix("small_")]


def of_scaled(named: str):
    installed = toy_installed().named("metric", "scaled", Scaled).named("metric", "agreement", Agreement)
    return plan(Grid.parse(GRID.replace("METRICS", f"metrics = [{named}]")), installed).trials[-1]


def test_a_metric_takes_settings_from_the_grid_and_asks_the_model(tmp_path):
    _, pruned = results(tmp_path, 'metrics = [{ use = "scaled", factor = 3 }]', Scaled)
    assert [(m.name, m.value, m.unit) for m in pruned.measurement.metrics] == [("scaled.small_n", 3.0, "count")]
    assert "metric:scaled" in pruned.provenance.plugins


def test_settings_of_a_metric_are_part_of_a_trials_identity():
    plain = of_scaled('"scaled"')
    assert plain.id == of_scaled('{ use = "scaled" }').id == of_scaled('{ use = "scaled", factor = 1 }').id
    changed = of_scaled('{ use = "scaled", factor = 2 }')
    ids = {plain.id, changed.id, of_scaled('{ use = "scaled", words = "a" }').id}
    assert len(ids) == 3 and plain.protocol.metrics == ("scaled",)
    (asked,) = changed.protocol.metrics
    assert asked.params == {"factor": 2.0, "words": ""}
    assert of_scaled('{ use = "scaled", words = "a" }').protocol.metrics[0].code not in ("", asked.code)


def test_a_stored_protocol_with_settings_of_a_metric_is_a_grids_again():
    protocol = of_scaled('"agreement", { use = "scaled", factor = 2 }').protocol
    again = Grid.parse(f"{lines.protocol(json.loads(protocol.text))}\n{GRID.split('METRICS')[1]}").protocol
    assert again.metric_names == protocol.metric_names and again.id == protocol.id


@pytest.mark.parametrize(
    ("named", "error", "told"),
    [
        ('{ use = "scaled", faktor = 2 }', PlanError, "protocol, metrics: scaled has no field 'faktor'"),
        ('{ use = "scaled", factor = 0 }', PlanError, "scaled: factor must be above 0, got 0"),
        ('{ use = "scaled", factor = [1, 2] }', PlanError, "scaled: factor must be a finite number"),
        ("{ factor = 2 }", GridError, "protocol.metrics: expected a name or"),
        ("3", GridError, "protocol.metrics: expected a name or .* got 3"),
        ('"scaled", { use = "scaled", factor = 2 }', GridError, "scaled is named 2 times"),
    ],
)
def test_what_is_wrong_with_a_metrics_settings_is_one_line(named, error, told):
    with pytest.raises(error, match=told):
        of_scaled(named)
