"""`check_model`."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from prunebench.plugins.contracts import Model
from prunebench.randomness import seeded
from prunebench.records import Value
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings


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
    except Exception as error:
        return [*findings, Finding("build", f"raised {type(error).__name__}: {error}", "mend build(class_count)")]
    return [*findings, *_network_findings(first, again, other, shape, class_count)]


def _built(model: Model, class_count: int, seed: int) -> nn.Module:
    with seeded(seed):
        return model.build(class_count).eval()


def _network_findings(
    first: nn.Module, again: nn.Module, other: nn.Module, shape: tuple[int, ...], class_count: int
) -> list[Finding]:
    findings = []
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            out, same, different = first(example), again(example), other(example)
    except Exception as error:
        return [Finding("forward", f"fails on {(2, *shape)}: {error}", "accept (N, C, H, W) of `input_shape`")]
    if tuple(out.shape) != (2, class_count):
        findings.append(Finding("forward", f"logits of shape {tuple(out.shape)}", f"return (N, {class_count})"))
    if not torch.equal(out, same):
        findings.append(Finding("determinism", "one seed gave two networks", "draw weights from torch's generator"))
    elif torch.equal(out, different) and any(True for _ in first.parameters()):
        findings.append(Finding("seed", "two seeds gave one network", "initialise when `build` is called"))
    try:
        copy.deepcopy(first).load_state_dict(first.state_dict())
    except Exception as error:
        findings.append(Finding("saved", f"cannot be copied or reloaded: {error}", "keep state in parameters"))
    return findings
