"""From a trial's method to a pruned network: targets solved, stages in a row, masks folded in, promises checked."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from prunebench import samples
from prunebench.errors import NotApplicable
from prunebench.grid.plan import instance
from prunebench.measure.counts import Counts, counts, layer_shapes
from prunebench.measure.scores import evaluating
from prunebench.measure.unchanged import Kept
from prunebench.plugins.contracts import Method
from prunebench.plugins.parameters import complete, create
from prunebench.randomness import seeded
from prunebench.records import Choice, CurvePoint, StageRecord, Trial, Value
from prunebench.shapes import LayerShape
from prunebench.trial.fingerprints import give_own_memory, storages
from prunebench.trial.masks import fold_masks, private_copy
from prunebench.trial.targets import DenseCounts, closed_form_faults, solved
from prunebench.trial.task import TrialTask, merged_layers
from prunebench.trial.training import validation_scores
from prunebench.trial.workbench import DenseNetwork, Workbench, require_objective, weights_hash


class BrokenPromise(Exception):
    """A method that did what it must not, or left other counts than it declared; the trial fails with the reason."""


@dataclass
class Pruned:
    """A pruned network and how it came about."""

    network: nn.Module
    methods: list[Method] = field(default_factory=list)
    prune_seconds: float = 0.0
    layers: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    achieved: dict[str, float] = field(default_factory=dict)
    solved: dict[str, Value] = field(default_factory=dict)

    @property
    def layer_notes(self) -> dict[str, dict[str, Any]]:
        """What the methods said of each layer."""
        return merged_layers(self.layers)


def pruned_network(bench: Workbench, trial: Trial, dense: DenseNetwork) -> Pruned:
    """A pruned private copy of the dense network; raises `NotApplicable`, `BrokenPromise` or the method's own error."""
    result = Pruned(private_copy(dense.network))
    stages = trial.method.stages or (trial.method,)
    for position, choice in enumerate(stages):
        _stage(bench, trial, dense, result, choice, position, len(stages))
    bench.guard.enter(f"the network that {trial.method.use} made, or what measures it,")
    if weights_hash(dense.network) != dense.sha256:
        bench.forget()
        _require_still_forward(dense)
        raise BrokenPromise("it changed the dense network, which it must not touch")
    return result


def _require_still_forward(dense: DenseNetwork) -> None:
    """Raise where it is the network's own forward pass that changes its weights."""
    before = Kept.of(dense.network)
    with evaluating(dense.network), torch.inference_mode():
        samples.call(dense.network, dense.example)
    before.require_unchanged(dense.network)


def _stage(
    bench: Workbench, trial: Trial, dense: DenseNetwork, result: Pruned, choice: Choice, position: int, count: int
) -> None:
    is_first = position == 0
    example = dense.example
    shapes = dense.shapes if is_first else layer_shapes(result.network, example)
    before = dense.counts if is_first else counts(result.network, example, dense=dense.network)
    method = _method(bench, choice, shapes, before, result)
    require_objective(f"the method {method.name}", method.objectives, dense.objective)
    task = _task(bench, trial, dense, shapes, is_first, position)
    task.anatomy = dense.anatomy(result.network)
    bench.guard.enter(choice.use)
    started = time.monotonic()
    try:
        with seeded(trial.seed, bench.device):  # new layers draw start values: the same ones every time
            network = method.prune(result.network, task)
    except NotApplicable as reason:
        raise NotApplicable(f"stage {position + 1}, {choice.use}: {reason}" if count > 1 else str(reason)) from None
    if bench.device.type == "cuda":
        torch.cuda.synchronize(bench.device)
    seconds = time.monotonic() - started + task.shared_seconds
    if not isinstance(network, nn.Module):
        raise BrokenPromise(f"prune returned {type(network).__name__}, not a network")
    _require_own(network, dense.network)
    result.network = fold_masks(network, dense.network).eval()
    give_own_memory(result.network, bench.memory.addresses)
    result.methods.append(method)
    result.prune_seconds += seconds
    result.layers.append(task.layers)
    result.notes += task.notes
    result.curve += task.curve
    after = counts(result.network, example, dense=dense.network)
    if faults := closed_form_faults(method, shapes, before, after):
        raise BrokenPromise(faults[0])
    if count > 1:
        result.stages.append(_stage_record(bench, dense, result, method, choice, position, after, seconds))
    if choice.target:
        result.achieved["compression"] = dense.counts.parameter_count / max(1, after.nonzero_parameter_count)
        if dense.counts.mac_count is not None and after.mac_count is not None:
            result.achieved["theoretical_speedup"] = dense.counts.mac_count / max(1, after.mac_count)


def _require_own(network: nn.Module, dense: nn.Module) -> None:
    """Raise where a method returned the dense network, a part of it, or weights that lie in its memory."""
    modules = {id(module) for module in dense.modules()}
    is_shared = any(id(module) in modules for module in network.modules())
    if is_shared or not set(storages(dense)).isdisjoint(storages(network)):
        raise BrokenPromise("it returned the dense network or weights of it: return the copy that prune was given")


def _method(bench: Workbench, choice: Choice, shapes: tuple[LayerShape, ...], before: Counts, result: Pruned) -> Method:
    """The method with complete settings; a target is solved on the network it will be handed."""
    plugin = bench.installed.find("method", choice.use)
    if choice.target:
        dense_counts = DenseCounts(before.parameter_count, before.mac_count)
        value = solved(plugin.cls, choice.params, choice.target, shapes, dense_counts)
        result.solved[plugin.cls.knob] = value
        choice = replace(choice, params={**choice.params, plugin.cls.knob: value})
    method = instance(bench.installed, "method", choice)
    assert isinstance(method, Method)
    return method


def _task(
    bench: Workbench,
    trial: Trial,
    dense: DenseNetwork,
    shapes: tuple[LayerShape, ...],
    is_first: bool,
    position: int,
) -> TrialTask:
    def make(name: str, params: dict[str, Value]) -> Method:
        plugin = bench.installed.find("method", name)
        made: Method = create(plugin.cls, complete(plugin.cls, params))
        return made

    return TrialTask(
        device=bench.device,
        seed=trial.seed,
        finetune=trial.protocol.finetune,
        train=dense.splits.train,
        validation=dense.splits.validation,
        recipe=trial.protocol.train,
        calibration=dense.calibration,
        example_input=dense.example,
        objective=dense.objective,
        outputs=dense.splits.output_count,
        batch_size=dense.batch_size,
        shapes=shapes,
        class_count=dense.splits.class_count,
        memory=bench.memory if is_first else None,
        initial=dense.initial,
        make=make,
        teacher=dense.network,
        breathe=bench.turn.breathe,
        generator=method_generator(trial.seed, position),
    )


def method_generator(seed: int, position: int = 0) -> torch.Generator:
    """A generator that depends on the trial's seed and the stage, and on nothing else."""
    digest = hashlib.sha256(f"method {seed} {position}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def _stage_record(
    bench: Workbench,
    dense: DenseNetwork,
    result: Pruned,
    method: Method,
    choice: Choice,
    position: int,
    after: Counts,
    seconds: float,
) -> StageRecord:
    found = validation_scores(
        result.network, dense.splits.validation, dense.objective, bench.device, bench.turn.breathe
    )
    formats = method.storage(result.network)
    return StageRecord(
        position,
        choice.label,
        after.parameter_count,
        after.nonzero_parameter_count,
        after.mac_count,
        found.top1_accuracy,
        seconds,
        min(formats.values()) if formats else None,
        found.score,
    )
