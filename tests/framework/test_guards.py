"""One trial must not touch the next: whoever changes what trials share fails by name, and what follows is as alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import prunebench.trial.runner
import pytest
import torch
from prunebench import Method, Model, TensorSplit, param
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.records import Result
from prunebench.trial.fingerprints import Fingerprint, give_own_memory
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from torch import nn
from toys import toy_installed

GRID = """
[protocol]
train = { epochs = 2, batch_size = 16, lr = 1e-2 }
finetune = { epochs = 1, lr = 1e-2 }
calibration = 32
latency = { batch = [] }
[[block]]
dataset = "blobs"
model = "MODEL"
seed = 0
method = [METHOD]
"""

SLIPS: dict[str, Callable] = {}


def slip(function: Callable) -> Callable:
    SLIPS[function.__name__] = function
    return function


@slip
def calibration_in_place(network, task):
    task.calibration.sub_(1)


@slip
def calibration_past_the_counter(network, task):
    task.calibration.data.mul_(0)


@slip
def calibration_by_numpy(network, task):
    task.calibration.numpy()[:] = 0


@slip
def example_in_place(network, task):
    task.example_input.zero_()


@slip
def training_batches_in_place(network, task):
    for images, _ in task.train.batches(64, task.device):
        images.clamp_(min=0)


@slip
def validation_labels_in_place(network, task):
    task.validation.labels.add_(1).remainder_(4)


@slip
def kept_value_in_place(network, task):
    task.once("w", lambda: network[1].weight.detach().clone()).mul_(0.5)


@slip
def gradients_off(network, task):
    torch.set_grad_enabled(False)


@slip
def double_by_default(network, task):
    torch.set_default_dtype(torch.float64)


@slip
def meta_by_default(network, task):
    torch.set_default_device("meta")


@slip
def more_threads(network, task):
    torch.set_num_threads(torch.get_num_threads() + 1)


@slip
def deterministic(network, task):
    torch.use_deterministic_algorithms(True)


@slip
def denormals_flushed(network, task):
    torch.set_flush_denormal(True)


@slip
def another_folder(network, task):
    os.chdir("/")


@slip
def a_hook_everywhere(network, task):
    nn.modules.module.register_module_forward_hook(lambda module, given, out: out * 0)


@slip
def our_function_replaced(network, task):
    prunebench.trial.runner.evaluate = lambda *args, **options: None


@slip
def our_method_replaced(network, task):
    TensorSplit.batches = lambda self, size, *rest: iter(())


def dense_of(frame) -> nn.Module:
    while "dense" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["dense"].network


@slip
def dense_hooked(network, task):
    dense_of(sys._getframe()).register_forward_hook(lambda *args: None)


@slip
def dense_returned(network, task):
    return dense_of(sys._getframe())


@slip
def dense_weight_returned(network, task):
    network[1].weight = dense_of(sys._getframe())[1].weight


@slip
def network_that_writes_its_input(network, task):
    return Writes(network)


class Writes(nn.Module):
    """Normalises its input in place."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        x -= 0.5
        return self.inner(x)


@dataclass(frozen=True)
class Slips(Method):
    """Does what `how` says to what it was handed."""

    name = "slips"
    how: str = param("", "the slip")

    def prune(self, network, task):
        returned = SLIPS[self.how](network, task)
        return network if returned is None else returned


@dataclass(frozen=True)
class Installs(Method):
    """Makes what `task.once` keeps a parameter, which is then fine-tuned in place."""

    name = "installs"
    turn: int = param(0, "to tell two apart", at_least=0)
    buffers: bool = param(False, "as `.data` of a parameter, else as a new one")

    def prune(self, network, task):
        weight = task.once("w", lambda: network[1].weight.detach().clone() * 0.9)
        if self.buffers:
            network[1].weight.data = weight
        else:
            network[1].weight = nn.Parameter(weight)
        return network


@dataclass(frozen=True)
class Drops(Method):
    """Draws from torch's, Python's and NumPy's own generators, as dropout and careless code do."""

    name = "drops"

    def prune(self, network, task):
        import random

        with torch.no_grad():
            network[1].weight.mul_(torch.rand(1) + random.random() + float(np.random.rand()))
        return nn.Sequential(*list(network)[:-1], nn.Dropout(0.5), network[-1])


@dataclass(frozen=True)
class InPlace(Model):
    """Normalises its input in place."""

    name = "in_place"
    input_shape = (1, 4, 4)

    def build(self, class_count):
        return Writes(nn.Sequential(nn.Flatten(), nn.Linear(16, class_count)))


def installed():
    result = toy_installed().named("model", "in_place", InPlace)
    for method in (Slips, Installs, Drops):
        result = result.named("method", method.name, method)
    return result


@pytest.fixture
def open_bench(tmp_path):
    """A fresh workbench each call, over one folder of checkpoints."""

    def opened() -> Workbench:
        bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", disabled_plugins=("all",), threads=1)
        bench.installed = installed()
        return bench

    folder, function, method = os.getcwd(), prunebench.trial.runner.evaluate, TensorSplit.batches
    yield opened
    os.chdir(folder)
    prunebench.trial.runner.evaluate, TensorSplit.batches = function, method
    torch.set_default_dtype(torch.float32)


def result_of(bench: Workbench, method: str, model: str = "tiny") -> Result:
    text = GRID.replace("METHOD", method).replace("MODEL", model)
    return run_trial(plan(Grid.parse(text), installed()).trials[-1], bench)


def numbers(result: Result) -> tuple:
    assert result.status == "ok", result.reason
    assert result.measurement is not None
    return result.measurement.loss, result.measurement.correct, result.measurement.nonzero_parameter_count


KEEP = '{ use = "keep", share = 0.6 }'


@pytest.mark.parametrize("how", SLIPS)
def test_a_slip_fails_by_name_and_the_next_trial_is_as_alone(open_bench, how):
    alone = numbers(result_of(open_bench(), KEEP))
    bench = open_bench()
    first = numbers(result_of(bench, KEEP))
    culprit = result_of(bench, f'{{ use = "slips", how = "{how}" }}')
    assert culprit.status == "failed" and "\n" not in culprit.reason, culprit
    assert "slips" in culprit.reason or "it returned the dense network" in culprit.reason
    assert culprit.measurement is None
    assert first == alone == numbers(result_of(bench, KEEP))


def test_what_a_slip_changed_asks_for_another_worker(open_bench):
    bench = open_bench()
    result_of(bench, KEEP)
    assert not bench.is_spent
    result_of(bench, '{ use = "slips", how = "calibration_in_place" }')
    assert bench.is_spent


@pytest.mark.parametrize("buffers", ["true", "false"])
def test_a_kept_value_that_is_trained_on_does_not_drift(open_bench, buffers):
    bench = open_bench()
    results = [
        numbers(result_of(bench, f'{{ use = "installs", turn = {turn}, buffers = {buffers} }}')) for turn in range(3)
    ]
    assert results[0] == results[1] == results[2]


def test_numbers_drawn_outside_the_task_are_those_of_the_trial_alone(open_bench):
    alone = numbers(result_of(open_bench(), '"drops"'))
    bench = open_bench()
    result_of(bench, KEEP)
    torch.rand(7), np.random.rand(3)
    assert numbers(result_of(bench, '"drops"')) == alone


def test_a_model_that_writes_its_input_fails_with_the_fix(open_bench):
    bench = open_bench()
    result = result_of(bench, '"dense"', "in_place")
    assert result.status == "failed"
    assert result.reason == "the forward pass of in_place changes its input in place: write x = x - mean, not x -= mean"
    numbers(result_of(bench, KEEP))


def test_the_test_split_is_not_within_a_methods_reach(open_bench):
    seen: dict[str, object] = {}

    def look(network, task):
        seen.update(vars(task))

    SLIPS["looks"] = look
    numbers(result_of(open_bench(), '{ use = "slips", how = "looks" }'))
    del SLIPS["looks"]
    assert "splits" not in seen and {"train", "validation", "calibration"} <= set(seen)


def test_a_fingerprint_sees_each_tree_and_names_the_leaf():
    tree = {"ids": torch.arange(6), "pair": (torch.ones(3), [np.zeros(4)])}
    prints = Fingerprint.of([("the tokens", tree), ("the rest", torch.zeros(100_000))])
    assert prints.changed() == prints.moved() == "" and len(prints.marks) == 4
    tree["pair"][1][0][2] = 1
    assert prints.changed() == "the tokens" and prints.moved() == ""


def test_a_large_tensor_changed_past_its_counter_is_seen_in_a_sample():
    large = torch.zeros(1000, 1000)
    prints = Fingerprint.of([("it", large)])
    large.data += 1
    assert prints.changed() == "it" and prints.moved() == ""


def test_own_memory_keeps_ties_and_strides():
    kept = torch.arange(12.0)
    network = nn.ModuleList([nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)])
    network[0].weight.data = kept.view(3, 4).T
    network[1].weight.data = kept.view(3, 4).T
    give_own_memory(network, {kept.untyped_storage().data_ptr()})
    first, second = (layer.weight for layer in network)
    assert first.stride() == (1, 4) and torch.equal(first, kept.view(3, 4).T)
    assert first.data_ptr() == second.data_ptr() != kept.data_ptr()
