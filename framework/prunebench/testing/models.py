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
from prunebench.trial.networks import ready
from prunebench.trial.weights import load_weights

LANGUAGE = "language_modelling"


def check_model(cls: type[Model], settings: Mapping[str, Value] | None = None, outputs: int = 7) -> list[Finding]:
    """Findings about a model; none means that it may be published."""
    findings = class_findings(cls, "model")
    if findings:
        return findings
    findings += documentation_findings(cls)
    model, faults = instance_or_findings(cls, dict(settings or {}))
    if faults or model.pretrained:
        return findings + faults
    try:
        shape = None if model.input_shape is None else tuple(model.input_shape)
    except TypeError:
        shape = ("?",)
    if shape is not None and any(not isinstance(side, int) or side < 1 for side in shape):
        seen = f"is {model.input_shape!r}"
        return [*findings, Finding("input_shape", seen, "positive numbers, as (C, H, W), (T,) or (F,); or None")]
    example = _example(model, shape, outputs)
    try:
        first, again, other = (_built(model, outputs, seed, example) for seed in (0, 0, 1))
    except PluginError as error:
        return [*findings, Finding("build", str(error), "return a plain nn.Module")]
    except Exception as error:
        return [*findings, Finding("build", f"raised {type(error).__name__}: {error}", "fix build(outputs)")]
    return [*findings, *_network_findings(model, (first, again, other), example, outputs)]


def _example(model: Model, shape: tuple[int, ...] | None, outputs: int) -> Tensor:
    """Two samples: tokens for a language model, else random numbers; (2, 13) where the model takes any shape."""
    generator = torch.Generator().manual_seed(0)
    sizes = (2, *(shape or (13,)))
    if LANGUAGE in model.objectives:
        return torch.randint(outputs, sizes, generator=generator)
    return torch.randn(sizes, generator=generator)


def _built(model: Model, outputs: int, seed: int, example: Tensor) -> nn.Module:
    """As a trial makes it: initialised where it is lazy, without torch.compile around it."""
    with seeded(seed):
        return ready(model.build(outputs), lambda: example, model.name).eval()


def _network_findings(
    model: Model, networks: tuple[nn.Module, nn.Module, nn.Module], example: Tensor, outputs: int
) -> list[Finding]:
    findings = []
    first, again, other = networks
    shape = tuple(example.shape)
    try:
        with torch.inference_mode():
            out, same, different = first(example), again(example), other(example)
    except Exception as error:
        return [Finding("forward", f"fails on {shape}: {error}", "accept a batch of `input_shape`")]
    wanted = (*shape, outputs) if LANGUAGE in model.objectives else (2, outputs)
    is_usual = not model.objectives or bool(set(model.objectives) & {"classification", "regression"})
    if not isinstance(out, Tensor):
        fix = "return a tensor of outputs and nothing else"
        return [Finding("forward", f"returns {type(out).__name__}", fix)] if is_usual else []
    if (is_usual or LANGUAGE in model.objectives) and tuple(out.shape) != wanted:
        findings.append(Finding("forward", f"outputs of shape {tuple(out.shape)}", f"return {wanted}"))
    if not torch.equal(out, same):
        findings.append(Finding("determinism", "one seed gave two networks", "draw weights from torch's generator"))
    elif torch.equal(out, different) and any(True for _ in first.parameters()):
        findings.append(Finding("seed", "two seeds gave one network", "initialise when `build` is called"))
    findings += _stored_findings(first, other, example)
    return findings or (_training_findings(again, example, wanted) if is_usual else [])


def _stored_findings(network: nn.Module, other: nn.Module, example: Tensor) -> list[Finding]:
    """A trial works on a copy of what it read from a checkpoint."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder))
            checkpoints.write("network", network.state_dict(), 0.0, ())
            kept = checkpoints.read("network")
        assert kept is not None
        load_weights(other, kept.weights)
        copied = private_copy(other)
        with torch.inference_mode():
            is_same = torch.equal(network(example), copied(example))
    except Exception as error:
        return [
            Finding("saved", f"cannot be copied or reloaded: {said(error)}", "keep state in parameters and buffers")
        ]
    fix = "keep all that the forward pass needs in parameters, buffers or extra state"
    return [] if is_same else [Finding("saved", "gives other outputs after saving and reloading", fix)]


def _training_findings(network: nn.Module, example: Tensor, wanted: tuple[int, ...]) -> list[Finding]:
    """One step in training mode, where some networks return more than in evaluation."""
    try:
        out = network.train()(example)
    except Exception as error:
        return [Finding("training", f"fails in training mode: {said(error)}", "accept two samples while it trains")]
    if not isinstance(out, Tensor):
        fix = "return the outputs alone also while it trains (torchvision's aux_logits=False)"
        return [Finding("training", f"returns {type(out).__name__} in training mode", fix)]
    if tuple(out.shape) != wanted:
        seen = f"outputs of shape {tuple(out.shape)} in training mode"
        return [Finding("training", seen, f"return {wanted} also while it trains")]
    if not any(value.requires_grad for value in network.parameters()):
        return []
    try:
        out.float().square().sum().backward()
    except Exception as error:
        return [
            Finding("training", f"cannot be trained: {said(error)}", "change no activation in place that is needed")
        ]
    return []
