"""Calls of Torch-Pruning."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch_pruning as tp
from prunebench import NotApplicable, Task
from torch import nn

from prunebench_peers.randomness import seeded

READ_OUTSIDE = "the network reads its weight or sizes itself"

if TYPE_CHECKING:
    from prunebench_peers.torch_pruning import TorchPruning


def shrunk(network: nn.Module, task: Task, method: TorchPruning) -> nn.Module:
    """`network` with whole groups of channels removed; raises `NotApplicable` where nothing can be."""
    _require_layers(task, method.importance)
    before = _sizes(network)
    grads = [parameter.requires_grad for parameter in network.parameters()]
    network.requires_grad_(True)  # the graph is traced through autograd
    with seeded(task.generator), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _remove(network, task, method)
    for parameter, grad in zip(network.parameters(), grads, strict=True):
        parameter.grad = None
        parameter.requires_grad_(grad)
    if _sizes(network) == before:
        raise NotApplicable(f"a ratio of {method.ratio:g} removes no channel of this network")
    return network


def _require_layers(task: Task, importance: str) -> None:
    if importance == "taylor" and task.objective.name != "classification":
        raise NotApplicable("`taylor` takes gradients of a class label's loss, and the data have no classes")
    if len(task.shapes) < 2:
        raise NotApplicable("there is no channel between two layers")
    if any(shape.tied or shape.called > 1 for shape in task.shapes):
        raise NotApplicable("a layer is used twice, which the dependency graph does not see")
    alone = {shape.name: shape.left_alone or (shape.read_outside and READ_OUTSIDE) for shape in task.shapes}
    for name, why in alone.items():
        if why:
            raise NotApplicable(f"the dependency graph does not see what {name or 'the network'} is: {why}")
    if importance == "fpgm" and any(1 < shape.groups < shape.in_channels for shape in task.shapes):
        raise NotApplicable("torch-pruning's fpgm ranks no grouped convolution")


def _remove(network: nn.Module, task: Task, method: TorchPruning) -> None:
    classifier = network.get_submodule(task.shapes[-1].name)
    pruner = tp.pruner.BasePruner(
        network,
        task.example_input,
        importance=_importance(method),
        pruning_ratio=method.ratio,
        global_pruning=method.everywhere,
        iterative_steps=method.steps,
        ignored_layers=[classifier],
    )
    for _ in range(method.steps):
        if method.importance == "taylor":
            _accumulate_gradients(network, task.calibration)
        pruner.step()


def _importance(method: TorchPruning) -> Any:
    if method.importance == "random":
        return tp.importance.RandomImportance()
    if method.importance == "taylor":
        return tp.importance.GroupTaylorImportance()
    kinds = {
        "magnitude": tp.importance.GroupMagnitudeImportance,
        "lamp": tp.importance.LAMPImportance,
        "fpgm": tp.importance.FPGMImportance,
    }
    return kinds[method.importance](p=method.norm)


def _accumulate_gradients(network: nn.Module, inputs: torch.Tensor) -> None:
    network.zero_grad()
    with torch.enable_grad():
        logits = network(inputs)  # (N, classes)
        nn.functional.cross_entropy(logits, logits.argmax(1)).backward()


def _sizes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in network.parameters()]
