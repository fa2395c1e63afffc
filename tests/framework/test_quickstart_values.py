"""The quickstart's values of 0.1.0 on one network: today's code comes to the same accuracies and counts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from prunebench.engine.grids import load_grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench

TEST_SAMPLES = 500
ELSEWHERE = 3  # test samples by which another processor's kernels may move an accuracy
VALUES_OF_0_1_0 = {  # top-1, parameters, nonzero parameters; simple_fcn on digits, seed 0
    "dense": (0.976, 105214, 105214),
    "random(keep=0.5)": (0.94, 105214, 52714),
    "random(keep=0.2)": (0.734, 105214, 21214),
    "magnitude(keep=0.5)": (0.97, 105214, 52714),
    "magnitude(keep=0.2)": (0.968, 105214, 21214),
    "magnitude(keep=0.1)": (0.674, 105214, 10714),
    "magnitude(keep=0.05)": (0.456, 105214, 5464),
    "low_rank(rank_ratio=0.5)": (0.938, 63492, 63491),
    "low_rank(rank_ratio=0.25)": (0.478, 31806, 31806),
    "low_rank(rank_ratio=0.1)": (0.204, 12788, 12788),
    "activation_pca(variance=0.99)": (0.966, 38902, 37997),
    "activation_pca(variance=0.95)": (0.948, 22690, 22150),
    "activation_pca(variance=0.9)": (0.93, 16670, 16258),
    "pca(variance=0.99)": (0.852, 96909, 96909),
    "pca(variance=0.9)": (0.836, 53700, 53700),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    installed = find_installed()
    grid = load_grid("quickstart", installed, None, Path())
    untimed = dataclasses.replace(grid.protocol.latency, batch=())
    grid = dataclasses.replace(grid, protocol=dataclasses.replace(grid.protocol, latency=untimed))
    folder = tmp_path_factory.mktemp("quickstart")
    bench = Workbench(data_dir=folder, checkpoints=folder / "checkpoints", threads=1)
    trials = [t for t in plan(grid, installed).trials if (t.model.use, t.seed) == ("simple_fcn", 0)]
    return {trial.method.label: run_trial(trial, bench).measurement for trial in trials}


def test_every_setting_of_the_quickstart_is_held(results):
    assert set(results) == set(VALUES_OF_0_1_0)


@pytest.mark.parametrize("label", VALUES_OF_0_1_0)
def test_a_value_of_the_first_release_has_not_moved(results, label):
    accuracy, parameters, nonzero = VALUES_OF_0_1_0[label]
    measured = results[label]
    assert measured.parameter_count == pytest.approx(parameters, rel=0.01)
    assert measured.nonzero_parameter_count == pytest.approx(nonzero, rel=0.01)
    assert measured.score == pytest.approx(accuracy, abs=ELSEWHERE / TEST_SAMPLES)
