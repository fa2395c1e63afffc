"""`check_metric`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from prunebench.errors import NotApplicable, PluginError
from prunebench.plugins.contracts import Metric
from prunebench.testing import bench
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings
from prunebench.trial.metrics import Subject, readings


def check_metric(cls: type[Metric], settings: dict[str, Any] | None = None) -> list[Finding]:
    """Findings about a metric: numbers are finite, have units and repeat; networks stay as they were."""
    findings = class_findings(cls, "metric")
    if findings:
        return findings
    findings += documentation_findings(cls)
    metric, faults = instance_or_findings(cls, settings or {})
    return findings + (faults or [f for name in bench.NETWORKS for f in _tried(metric, name)])


def _tried(metric: Metric, name: str) -> list[Finding]:
    dense = bench.network(name)
    network = _halved(dense)
    test, device = bench.splits().test, torch.device("cpu")
    try:
        first, second = (readings(metric, Subject(None, network, dense), test, device) for _ in range(2))
    except NotApplicable as reason:
        return [] if str(reason) else [Finding("declines", "NotApplicable without a reason", "say why")]
    except PluginError as error:
        return [Finding("numbers", str(error), "fix the number or `units`")]
    except Exception as error:
        return [Finding("raises", f"{type(error).__name__}: {error} ({name})", 'or raise NotApplicable("why")')]
    if not first:
        return [Finding("numbers", "measure returned nothing", "return a number by name")]
    if first != second:
        return [Finding("determinism", "two calls gave different numbers", "draw from a generator of your own seed")]
    return []


def _halved(dense: nn.Module) -> nn.Module:
    """A copy with every second weight zero."""
    network = copy.deepcopy(dense)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.view(-1)[::2] = 0
    return network
