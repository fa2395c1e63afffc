"""Every trial that follows others in one worker equals the same trial alone, over all bundled methods."""

from __future__ import annotations

import random

import pytest
from prunebench.errors import PruneBenchError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench

GRID = """
[protocol]
train = { epochs = 1, lr = 2e-3 }
finetune = { epochs = 1, lr = 1e-3, batch_size = 256 }
calibration = 64
latency = { batch = [] }
evaluation_limit = 200
[[block]]
dataset = "digits"
model = "lenet5"
seed = 0
method = { use = "NAME"SETTINGS }
"""


def opened(folder) -> Workbench:
    return Workbench(data_dir=folder, checkpoints=folder / "checkpoints", threads=1)


def trials():
    installed = find_installed()
    found = []
    for name, plugin in sorted(installed.of_kind("method").items()):
        settings = "".join(f", {key} = {toml(value)}" for key, value in plugin.cls.example.items())
        try:
            trial = plan(Grid.parse(GRID.replace("NAME", name).replace("SETTINGS", settings)), installed).trials[-1]
        except PruneBenchError:
            continue
        if not plugin.cls(**plugin.cls.example).measures:
            found.append(trial)
    return found


def toml(value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def outcome(result):
    measured = result.measurement
    if measured is None:
        return result.status, result.reason
    return result.status, measured.loss, measured.correct, measured.nonzero_parameter_count, measured.notes


@pytest.mark.long
def test_a_trial_after_any_others_equals_the_same_trial_alone(tmp_path):
    todo = trials()
    assert len(todo) > 25
    alone = {trial.id: outcome(run_trial(trial, opened(tmp_path))) for trial in todo}
    random.Random(3).shuffle(todo)
    bench = opened(tmp_path)
    together = {trial.id: outcome(run_trial(trial, bench)) for trial in todo}
    different = [trial.method.label for trial in todo if together[trial.id] != alone[trial.id]]
    assert different == [] and not bench.is_spent
    failed = [(trial.method.label, alone[trial.id]) for trial in todo if alone[trial.id][0] == "failed"]
    assert failed == []
