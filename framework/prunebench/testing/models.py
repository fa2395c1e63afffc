"""`check_model`."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prunebench.plugins.contracts import Model
from prunebench.randomness import seeded
from prunebench.records import Value
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings

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
    except Exception as error:
        return [*findings, Finding("build", f"raised {type(error).__name__}: {error}", "mend build(outputs)")]
    return [*findings, *_network_findings(model, (first, again, other), example, outputs)]


def _example(model: Model, shape: tuple[int, ...] | None, outputs: int) -> Tensor:
    """Two samples: tokens for a language model, random numbers for any other; thirteen of them where it takes any."""
    generator = torch.Generator().manual_seed(0)
    sizes = (2, *(shape or (13,)))
    if LANGUAGE in model.objectives:
        return torch.randint(outputs, sizes, generator=generator)
    return torch.randn(sizes, generator=generator)


def _built(model: Model, outputs: int, seed: int, example: Tensor) -> nn.Module:
    with seeded(seed):
        network = model.build(outputs).eval()
        if any(is_lazy(parameter) for parameter in network.parameters()):
            with torch.no_grad():
                network(example)
        return network


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
    is_usual = not model.objectives or set(model.objectives) & {LANGUAGE, "classification", "regression"}
    if is_usual and tuple(out.shape) != wanted:
        findings.append(Finding("forward", f"outputs of shape {tuple(out.shape)}", f"return {wanted}"))
    if not isinstance(out, Tensor):
        return findings
    if not torch.equal(out, same):
        findings.append(Finding("determinism", "one seed gave two networks", "draw weights from torch's generator"))
    elif torch.equal(out, different) and any(True for _ in first.parameters()):
        findings.append(Finding("seed", "two seeds gave one network", "initialise when `build` is called"))
    try:
        copy.deepcopy(first).load_state_dict(first.state_dict())
    except Exception as error:
        findings.append(Finding("saved", f"cannot be copied or reloaded: {error}", "keep state in parameters"))
    return findings
