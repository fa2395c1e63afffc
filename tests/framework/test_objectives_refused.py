"""Objectives, models and data that do not go together: one line each, and nothing is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from prunebench import Dataset, Model, Objective, Splits, TensorSplit
from prunebench.errors import PlanError, PluginError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.records import Choice, LatencyProtocol, Protocol, Recipe, Trial
from prunebench.testing import check_dataset
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from torch import nn

GRID = 'name = "x"\n[[block]]\ndataset = {datasets}\nmodel = {models}\nmethod = "dense"\n'
PROTOCOL = Protocol(train=Recipe(epochs=1, lr=1e-2), latency=LatencyProtocol(batch=()), calibration=8)


def planned(datasets, models, installed=None, more=""):
    text = GRID.format(datasets=datasets, models=models) + more
    return plan(Grid.parse(text), installed or find_installed())


@pytest.mark.parametrize(
    ("datasets", "models", "reason"),
    [
        ('"diabetes"', '"tiny_gpt"', "tiny_gpt is for language_modelling, the data set diabetes for regression"),
        ('["drawn_shapes", "digits"]', '"grid_detector"', "grid_detector is for detection, the data set digits for"),
    ],
)
def test_a_plan_refuses_a_model_and_data_of_other_objectives(datasets, models, reason):
    with pytest.raises(PlanError, match=rf"grid: block 1: the model {reason}.*exclude the pair") as raised:
        planned(datasets, models)
    assert "\n" not in str(raised.value)


def test_a_pair_that_is_excluded_is_not_refused():
    why = '[[block.exclude]]\ndataset = "digits"\nwhy = "no boxes"\n'
    assert {t.dataset.use for t in planned('["drawn_shapes", "digits"]', '"grid_detector"', more=why).trials} == {
        "drawn_shapes"
    }


def test_a_data_set_whose_objective_is_not_installed_is_refused():
    missing = find_installed().named("dataset", "rows", Rows)
    with pytest.raises(PluginError, match=r"no objective 'median_error'.*the data set rows names it"):
        planned('"rows"', '"mlp"', missing)


@dataclass(frozen=True)
class Rows(Dataset):
    """Four columns, and a number to predict."""

    name = "rows"
    objective = "median_error"
    fault: ClassVar[str] = ""

    def load(self, input_shape, folder: Path) -> Splits:
        draw = torch.Generator().manual_seed(0)
        parts = []
        for count in (40, 20, 20):
            rows = torch.randn(count, 4, generator=draw)
            targets = rows.sum(1)
            if self.fault == "nan":
                targets[3] = math.nan
            if self.fault == "whole":
                targets = targets.long()
            if self.fault == "constant" and count == 20:
                targets = torch.ones(count)
            parts.append(TensorSplit(rows, targets))
        return Splits(*parts, fingerprint="rows", outputs=1)


@dataclass(frozen=True)
class Line(Model):
    """A line."""

    name = "line"
    input_shape = (4,)
    wide: ClassVar[int] = 1

    def build(self, outputs: int) -> nn.Module:
        return nn.Linear(4, outputs * self.wide)


@dataclass(frozen=True)
class Odd(Objective):
    """The mean error, or what `gives` says."""

    name = "odd"
    score = "error"
    units = {"error": ""}
    gives: ClassVar[float] = 1.0

    def loss(self, outputs, targets):
        return (outputs[:, 0] - targets).abs().mean()

    def judge(self, outputs, targets):
        return {"value": (outputs[:, 0] - targets).abs()}

    def scores(self, judged):
        return {"error": self.gives}


def ended(tmp_path, data, model=Line, objective=None):
    installed = find_installed().named("dataset", "rows", data).named("model", "line", model)
    if objective is not None:
        installed = installed.named("objective", objective.name, objective)
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", threads=1)
    bench.installed = installed
    return run_trial(Trial(Choice("rows"), Choice("line"), Choice("dense"), 0, PROTOCOL), bench)


def regression(fault):
    return type("Rows", (Rows,), {"objective": "regression", "fault": fault, "__doc__": "Rows."})


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nan", "data set rows: the targets of train have NaN or infinity, first in sample 3; leave"),
        ("whole", "regression needs float targets"),
        ("constant", "the targets of the split do not vary: r2 has no meaning"),
    ],
)
def test_targets_that_cannot_be_scored_end_a_trial_in_a_line(tmp_path, fault, reason):
    result = ended(tmp_path, regression(fault))
    assert result.status != "ok" and result.measurement is None
    assert reason in result.reason and "\n" not in result.reason


def test_outputs_of_another_shape_end_a_trial_in_a_line(tmp_path):
    result = ended(tmp_path, regression(""), type("Wide", (Line,), {"wide": 3, "__doc__": "Wide."}))
    assert result.status == "failed" and result.measurement is None
    assert "outputs must have shape (40, 1), got (40, 3)" in result.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "good"])
def test_a_score_that_is_not_finite_is_not_stored(tmp_path, value):
    odd = type("Odd", (Odd,), {"gives": value, "__doc__": "Odd."})
    data = type("Rows", (Rows,), {"objective": "odd", "__doc__": "Rows."})
    result = ended(tmp_path, data, objective=odd)
    assert result.status == "failed" and result.measurement is None
    assert f"error must be a finite number, got {value!r}" in result.reason


def test_a_sound_one_is_scored(tmp_path):
    result = ended(tmp_path, regression(""))
    assert result.status == "ok" and result.measurement.objective.name == "regression"
    assert result.measurement.score == result.measurement.scores["r2"]


def test_the_kit_takes_rows_that_do_not_heed_a_shape_of_images():
    assert check_dataset(regression("")) == []


def test_the_kit_knows_an_objective_that_comes_in_the_same_file():
    beside = type("Rows", (Rows,), {"objective": "odd", "__doc__": "Rows."})
    assert check_dataset(beside) == []
    assert [finding.check for finding in check_dataset(Rows)] == ["objective"]
