"""`check_model`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from prunebench.errors import PluginError, said
from prunebench.plugins.contracts import Model
from prunebench.randomness import seeded
from prunebench.records import Value
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings
from prunebench.trial.checkpoints import Checkpoints
from prunebench.trial.masks import private_copy
from prunebench.trial.networks import load, ready


def check_model(cls: type[Model], settings: Mapping[str, Value] | None = None, class_count: int = 7) -> list[Finding]:
    """Findings about a model; none means that it may be published."""
    findings = class_findings(cls, "model")
    if findings:
        return findings
    findings += documentation_findings(cls)
    model, faults = instance_or_findings(cls, dict(settings or {}))
    if faults or model.pretrained:
        return findings + faults
    shape = tuple(model.input_shape)
    if len(shape) != 3 or any(not isinstance(side, int) or side < 1 for side in shape):
        return [*findings, Finding("input_shape", f"is {shape}", "three positive numbers (C, H, W)")]
    try:
        first, again, other = (_built(model, class_count, seed) for seed in (0, 0, 1))
    except PluginError as error:
        return [*findings, Finding("build", str(error), "return a plain nn.Module")]
    except Exception as error:
        return [*findings, Finding("build", f"raised {type(error).__name__}: {error}", "mend build(class_count)")]
    return [*findings, *_network_findings(first, again, other, shape, class_count)]


def _built(model: Model, class_count: int, seed: int) -> nn.Module:
    """As a trial makes it: initialised where it is lazy, without torch.compile around it."""
    with seeded(seed):
        return ready(model.build(class_count), lambda: _example(model.input_shape), model.name).eval()


def _example(shape: tuple[int, ...]) -> Tensor:
    """(2, C, H, W)"""
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def _network_findings(
    first: nn.Module, again: nn.Module, other: nn.Module, shape: tuple[int, ...], class_count: int
) -> list[Finding]:
    findings = []
    example = _example(shape)
    try:
        with torch.inference_mode():
            out, same, different = first(example), again(example), other(example)
    except Exception as error:
        return [Finding("forward", f"fails on {(2, *shape)}: {error}", "accept (N, C, H, W) of `input_shape`")]
    if not isinstance(out, Tensor):
        return [Finding("forward", f"returns {type(out).__name__}", "return a tensor of logits, nothing beside it")]
    if tuple(out.shape) != (2, class_count):
        findings.append(Finding("forward", f"logits of shape {tuple(out.shape)}", f"return (N, {class_count})"))
    if not torch.equal(out, same):
        findings.append(Finding("determinism", "one seed gave two networks", "draw weights from torch's generator"))
    elif torch.equal(out, different) and any(True for _ in first.parameters()):
        findings.append(Finding("seed", "two seeds gave one network", "initialise when `build` is called"))
    findings += _stored_findings(first, other, example)
    return findings or _training_findings(again, example, class_count)


def _stored_findings(network: nn.Module, other: nn.Module, example: Tensor) -> list[Finding]:
    """A trial works on a copy of what it read from a checkpoint."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder))
            checkpoints.write("network", network.state_dict(), 0.0, ())
            kept = checkpoints.read("network")
        assert kept is not None
        load(other, kept.weights)
        copied = private_copy(other)
        with torch.inference_mode():
            is_same = torch.equal(network(example), copied(example))
    except Exception as error:
        return [
            Finding("saved", f"cannot be copied or reloaded: {said(error)}", "keep state in parameters and buffers")
        ]
    mend = "keep all that the forward pass needs in parameters, buffers or extra state"
    return [] if is_same else [Finding("saved", "answers otherwise after saving and reloading", mend)]


def _training_findings(network: nn.Module, example: Tensor, class_count: int) -> list[Finding]:
    """One step in training mode, where some networks return more than logits."""
    try:
        out = network.train()(example)
    except Exception as error:
        return [Finding("training", f"fails in training mode: {said(error)}", "accept two samples while it trains")]
    if not isinstance(out, Tensor):
        mend = "return the logits alone also while it trains (torchvision's aux_logits=False)"
        return [Finding("training", f"returns {type(out).__name__} in training mode", mend)]
    if tuple(out.shape) != (2, class_count):
        seen = f"logits of shape {tuple(out.shape)} in training mode"
        return [Finding("training", seen, f"return (N, {class_count}) also while it trains")]
    if not any(value.requires_grad for value in network.parameters()):
        return []
    try:
        nn.functional.cross_entropy(out.float(), torch.zeros(2, dtype=torch.long)).backward()
    except Exception as error:
        return [
            Finding("training", f"cannot be trained: {said(error)}", "change no activation in place that is needed")
        ]
    return []
