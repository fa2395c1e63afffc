"""What metric plugins say of a pruned network beside its dense one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from prunebench.errors import NotApplicable, PluginError, said
from prunebench.measure.latency.faults import ChangedWeights
from prunebench.measure.scores import evaluating
from prunebench.measure.unchanged import Kept
from prunebench.plugins import contracts
from prunebench.records import NAME, Metric
from prunebench.splits import Split, TensorSplit


@dataclass(frozen=True)
class Subject:
    """What a metric looks at; `model` is None where networks are measured that no grid named."""

    model: contracts.Model | None
    network: nn.Module
    dense: nn.Module


def readings(metric: contracts.Metric, subject: Subject, test: Split, device: torch.device) -> tuple[Metric, ...]:
    """The numbers of one metric, named `metric.number`; both networks are left as they were.

    Raises `PluginError` where a number is not finite, not declared with a unit, or a network was changed.
    """
    network, dense = subject.network, subject.dense
    before = [(each, Kept.of(each)) for each in (network, dense)]
    with evaluating(network), evaluating(dense):
        found = metric.measure_with(subject.model, network, dense, test, device)
    for each, kept in before:
        try:
            kept.require_unchanged(each)
        except ChangedWeights as error:
            raise PluginError(f"metric {metric.name}: {error}") from None
    return tuple(_reading(metric, key, found[key]) for key in found)


def _reading(metric: contracts.Metric, key: str, value: object) -> Metric:
    unit = metric.unit(key) if isinstance(key, str) and NAME.fullmatch(key) else None
    if unit is None:
        known = ", ".join(metric.units) or "none"
        raise PluginError(f"metric {metric.name}: {key!r} has no unit: its `units` name {known}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PluginError(f"metric {metric.name}: {key} must be a finite number, got {value!r}")
    return Metric(f"{metric.name}.{key}", float(value), unit)


def all_readings(
    metrics: list[contracts.Metric],
    subject: Subject,
    test: Split,
    objective: contracts.Objective,
    device: torch.device,
    limit: int = 0,
) -> tuple[tuple[Metric, ...], list[str]]:
    """The numbers of all metrics on the first `limit` samples (0: all), and why any of them declined."""
    chosen: Split = TensorSplit(*test.head(limit)) if limit else test
    found: list[Metric] = []
    notes = []
    for metric in metrics:
        try:
            if metric.objectives and objective.name not in metric.objectives:
                raise NotApplicable(f"it is for {' or '.join(metric.objectives)}, the data set for {objective.name}")
            found += readings(metric, subject, chosen, device)
        except NotApplicable as reason:
            notes.append(f"metric {metric.name} declined: {said(reason)}")
    return tuple(found), notes
