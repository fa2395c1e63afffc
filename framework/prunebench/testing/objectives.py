"""`check_objective`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench import samples
from prunebench.errors import InvalidOutput
from prunebench.measure.scores import checked_batch, checked_numbers, gathered, scores_of
from prunebench.plugins.contracts import Objective
from prunebench.records import Value
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings

COUNT = 24  # samples that it is tried with
HALF = COUNT // 2


def check_objective(cls: type[Objective], settings: Mapping[str, Value] | None = None) -> list[Finding]:
    """Findings about an objective: its gradient, how it judges single samples, its units, and what it must refuse."""
    findings = class_findings(cls, "objective")
    if findings:
        return findings
    findings += documentation_findings(cls)
    objective, faults = instance_or_findings(cls, dict(settings or {}))
    if faults:
        return findings + faults
    findings += _facts(objective)
    try:
        outputs, targets = objective.example(COUNT, torch.Generator().manual_seed(3))
    except Exception as error:
        seen = f"raised {type(error).__name__}: {error}"
        return [*findings, Finding("example", seen, "return made-up (outputs, targets) of `count` samples")]
    checks: tuple[Callable[[Objective, Any, Any], list[Finding]], ...] = (_loss, _judged, _refused)
    return findings + [finding for check in checks for finding in _guarded(check, objective, outputs, targets)]


def _guarded(
    check: Callable[[Objective, Any, Any], list[Finding]], objective: Objective, outputs: Any, targets: Any
) -> list[Finding]:
    try:
        return check(objective, outputs, targets)
    except Exception as error:
        seen = f"raised {type(error).__name__}: {error} for what `example` gives"
        return [Finding(check.__name__.removeprefix("_"), seen, "accept what `example` returns")]


def _facts(objective: Objective) -> list[Finding]:
    findings = []
    if objective.score not in objective.units:
        findings.append(Finding("units", f"the headline {objective.score!r} has none", 'units = {"r2": ""}'))
    near = objective.near
    if len(near) != 2 or not 0 <= near[0] <= near[1]:
        findings.append(Finding("near", f"is {near}", "two numbers from 0 on, the smaller first"))
    if objective.paired not in ("bits", "values", "none"):
        findings.append(Finding("paired", f"is {objective.paired!r}", "bits, values or none"))
    if objective.compared not in ("difference", "ratio"):
        findings.append(Finding("compared", f"is {objective.compared!r}", "difference or ratio"))
    return findings


def _loss(objective: Objective, outputs: Any, targets: Any) -> list[Finding]:
    free = samples.mapped(lambda leaf: leaf.detach().clone().requires_grad_(leaf.is_floating_point()), outputs)
    loss = objective.loss(free, targets)
    if not isinstance(loss, Tensor) or loss.ndim or not loss.isfinite():
        seen = f"gave {samples.shapes(loss)}"
        return [Finding("loss", seen, "return one finite number, the mean over the batch")]
    loss.backward()
    moved = [leaf.grad for leaf in samples.leaves(free) if leaf.grad is not None]
    if not any(bool(gradient.isfinite().all()) and bool((gradient != 0).any()) for gradient in moved):
        return [Finding("loss", "has no gradient by the outputs", "let it be differentiable: no argmax, no detach")]
    return []


def _judged(objective: Objective, outputs: Any, targets: Any) -> list[Finding]:
    """Numbers with units, and the same ones from two halves as from the whole."""
    parts = [(slice(COUNT),), (slice(HALF), slice(HALF, COUNT))]
    found = []
    for slices in parts:
        rows = [(samples.rows(outputs, part), samples.rows(targets, part)) for part in slices]
        with torch.inference_mode():
            judged = [
                checked_batch(objective, objective.judge(some, wanted), samples.count(wanted)) for some, wanted in rows
            ]
        try:
            found.append(checked_numbers(objective, objective.scores(gathered(iter(judged)))))
        except InvalidOutput as error:
            return [Finding("scores", str(error), "give finite numbers, each named in `units`")]
    whole, halves = found
    if whole.keys() != halves.keys() or any(abs(whole[n] - halves[n]) > 1e-5 * (1 + abs(whole[n])) for n in whole):
        fix = "judge each sample by itself, and do what needs all of them in `scores`"
        return [Finding("batches", "two halves of a batch give other scores than the whole", fix)]
    return []


def _refused(objective: Objective, outputs: Any, targets: Any) -> list[Finding]:
    """Outputs that do not fit, or are not finite, must not become a number."""
    findings = []
    fewer = samples.rows(outputs, slice(HALF))
    if not _refuses(objective, fewer, targets):
        fix = 'raise InvalidOutput("outputs must have shape …") where they do not fit the targets'
        findings.append(Finding("shape", "half as many outputs as targets are judged", fix))
    broken = samples.mapped(lambda leaf: leaf * torch.nan if leaf.is_floating_point() else leaf, outputs)
    if not _refuses(objective, broken, targets):
        fix = 'say "finite": outputs.isfinite().all(1) in `judge`, or raise InvalidOutput'
        findings.append(Finding("finite", "outputs of NaN are given a score", fix))
    return findings


def _refuses(objective: Objective, outputs: Any, targets: Any) -> bool:
    """Whether it raises `InvalidOutput`, itself or because what it returns is not finite."""
    try:
        with torch.inference_mode():
            judged = checked_batch(objective, objective.judge(outputs, targets), COUNT)
        scores_of(objective, gathered(iter([judged])))
    except InvalidOutput:
        return True
    return False
