"""One pass in which layers are changed on the way: what is seen, how often layers are called, what is left behind."""

from __future__ import annotations

import copy
import threading
from collections import Counter

import pytest
import torch
from prunebench.measure.counts import layer_shapes
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory, TrialTask
from prunebench_methods.low_rank import data_aware_math
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.shared.walking import walking
from prunebench_models.decoder import Decoder, Sizes, anatomy_of, initialised
from prunebench_objectives.language_modelling import LanguageModelling
from torch import nn

TOKENS = torch.randint(19, (24, 12), generator=torch.Generator().manual_seed(3))
BATCHES = 3
METHODS = [
    DataAwareLowRank(rank_ratio=0.5, round_to=1, importance="alike"),
    PrincipalComponentsPruning(rank=8, even_if_larger=True),
]


def decoder() -> Decoder:
    torch.manual_seed(0)
    return initialised(Decoder(Sizes(19, 3, 24, 4, 2, 40)), 3).eval()


def task_for(network: nn.Module, walks: bool) -> TrialTask:
    task = made_task(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    task.calibration, task.example_input, task.memory = TOKENS, TOKENS[:1], Memory()
    task.shapes, task.objective, task.outputs = layer_shapes(network, TOKENS[:1]), LanguageModelling(), 19
    task.batch_size = len(TOKENS) // BATCHES
    task.anatomy = anatomy_of(network) if walks else None
    return task


def calls_of(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Filled with how often blocks are entered, of any decoder."""
    calls: Counter[str] = Counter()
    forward = type(decoder().model.layers[0]).forward

    def counted(self, *inputs, **options):
        calls["blocks"] += 1
        return forward(self, *inputs, **options)

    monkeypatch.setattr(type(decoder().model.layers[0]), "forward", counted)
    return calls


@pytest.mark.parametrize("kept_bytes", [1 << 28, 0], ids=["targets kept", "targets walked"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_walk_gives_the_same_weights_in_at_most_three_passes(method, kept_bytes: int, monkeypatch):
    monkeypatch.setattr(data_aware_math, "KEPT_BYTES", kept_bytes)
    calls, made, counted = calls_of(monkeypatch), {}, {}
    for walks in (True, False):
        network = decoder()
        calls.clear()
        task = task_for(network, walks)
        calls.clear()
        made[walks] = method.prune(network, task).state_dict()
        counted[walks] = calls["blocks"] / BATCHES / 3  # forward passes of the calibration data
    assert made[True].keys() == made[False].keys()
    assert all(torch.equal(value, made[False][name]) for name, value in made[True].items())
    assert counted[True] <= 3 < counted[False]
    assert counted[True] == {"data_aware_low_rank": 2, "principal_components_pruning": 1}[method.name]


def test_an_abandoned_walk_leaves_the_network_and_no_thread():
    network, before = decoder(), threading.active_count()
    layers = dict(network.named_modules())
    with (
        pytest.raises(ZeroDivisionError),
        walking(network, list(TOKENS.split(8)), ["model.layers.0.mlp.up_proj"]) as walk,
    ):
        assert len(walk.inputs("model.layers.0.mlp.up_proj")) == 3 and threading.active_count() == before + 3
        1 / 0  # noqa: B018
    assert dict(network.named_modules()) == layers and threading.active_count() == before


def test_an_error_of_the_network_reaches_who_asked():
    network = decoder()
    network.model.layers[1].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(ValueError("no block")))
    name = "model.layers.2.mlp.up_proj"
    with pytest.raises(ValueError, match="no block"), walking(network, [TOKENS], [name]) as walk:
        walk.inputs(name)


def test_a_layer_asked_for_too_late_is_said():
    network, names = decoder(), ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"]
    with pytest.raises(RuntimeError, match="do not reach"), walking(network, [TOKENS], names) as walk:
        walk.inputs(names[1])
        walk.inputs(names[0])


def test_what_is_put_in_place_is_called_by_the_waiting_pass():
    network, name = decoder(), "model.layers.0.mlp.down_proj"
    changed = copy.deepcopy(network)
    changed.get_submodule(name).weight.data.mul_(0.5)
    with walking(network, [TOKENS], [name, "model.layers.1.mlp.down_proj"]) as walk:
        walk.inputs(name)
        network.set_submodule(name, copy.deepcopy(changed.get_submodule(name)))
        (found,) = walk.inputs("model.layers.1.mlp.down_proj")
    seen = []
    handle = changed.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        changed(TOKENS)
    handle.remove()
    assert torch.equal(found, seen[0])
