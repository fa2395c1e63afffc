"""`check_method`: the checks of every method, on networks for images, for a table and for text."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn

from prunebench.errors import NotApplicable
from prunebench.measure.counts import counts
from prunebench.plugins.contracts import Method
from prunebench.randomness import seeded
from prunebench.records import Value
from prunebench.testing import bench, kept
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings, located
from prunebench.testing.other_tasks import other_findings
from prunebench.trial.masks import fold_masks, private_copy
from prunebench.trial.targets import closed_form_faults
from prunebench.trial.weights import load_weights

LARGE = 2048
LARGE_SECONDS = 60.0
IDENTITY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Attempt:
    """One call of `prune`: the network it was given a copy of, and what came back or why nothing did."""

    where: str
    dense: nn.Module
    pruned: nn.Module | None
    declined: str = ""
    error: BaseException | None = None
    left_alone: tuple[str, ...] = ()  # layers that the method says it did not touch


def check_method(
    cls: type[Method], settings: Mapping[str, Value] | None = None, *, speed: bool = True
) -> list[Finding]:
    """Findings about a method at `settings` (by default its defaults); none means that it may be published.

    `speed=False` leaves the large layer out, for tests that must be quick.
    """
    findings = class_findings(cls, "method")
    if findings:
        return findings
    findings += documentation_findings(cls)
    method, faults = instance_or_findings(cls, dict(cls.example if settings is None else settings))
    if faults:
        return findings + faults
    attempts = [attempt(method, name) for name in bench.NETWORKS]
    if all(one.declined for one in attempts):
        attempts = [attempt(method, name) for name in bench.COUPLED]
    working = []
    for one in attempts:
        found = [Finding(check, f"{seen} ({one.where})", fix) for check, seen, fix in _judged(method, one)]
        findings += found
        if one.pruned is not None and all(finding.check != "output" for finding in found):
            working.append(one.where)
    findings += _overall(method, attempts)
    for where in working[:1]:
        repeated = [Finding(*finding) for finding in _repeated(method, where)]
        findings += [finding for finding in repeated if not (method.measures and finding.check in SAME_AGAIN)]
        findings += [Finding(*finding) for finding in _types(method, where)]
    for where in working:
        findings += [Finding(*finding) for finding in _loosest(cls, where)]
    findings += [Finding(*finding) for finding in _odd(cls, method)]
    findings += other_findings(cls, method)
    if speed and working:
        findings += [Finding(*finding) for finding in _speed(method)]
    return list(dict.fromkeys(findings))


def attempt(
    method: Method, where: str, *, seed: int = 0, global_seed: int = 0, dtype: torch.dtype = torch.float32
) -> Attempt:
    """The outcome of one call of `prune` on a copy of the network called `where`."""
    dense = bench.network(where, dtype)
    given, task = copy.deepcopy(dense), bench.task(dense, seed)
    try:
        with seeded(global_seed), torch.set_grad_enabled(True):
            pruned = method.prune(given, task)
    except NotApplicable as declined:
        return Attempt(where, dense, None, str(declined) or "no reason given")
    except Exception as error:
        return Attempt(where, dense, None, error=error)
    left_alone = tuple(name for name, facts in task.layers.items() if facts.get("left_alone"))
    returned = fold_masks(pruned) if isinstance(pruned, nn.Module) else pruned
    return Attempt(where, dense, returned, left_alone=left_alone)


SAME_AGAIN = ("determinism", "seed", "repeat", "shared")  # what a method that measures times cannot promise

CLOSED_FORM = "fix the closed form or the network"
Row = tuple[str, str, str]  # check, seen, fix


def _judged(method: Method, one: Attempt) -> Iterator[Row]:
    if one.error is not None:
        seen = f"prune raised {located(one.error)}"
        yield "raises", seen, 'handle the layer, or raise NotApplicable("why")'
    if one.declined == "no reason given":
        yield "declines", "NotApplicable without a reason", 'raise NotApplicable("why")'
    if one.pruned is None:
        return
    if not isinstance(one.pruned, nn.Module):
        yield "output", f"prune returned {type(one.pruned).__name__}", "return the network"
        return
    faults = list(_output(one))
    yield from faults
    if faults:
        return
    yield from _unchanged(method, one)
    yield from kept.network_faults(one.dense, one.pruned)
    if not method.trains:
        yield from kept.left_alone_faults(one.dense, one.pruned, one.left_alone)
    yield from _counts(method, one)
    yield from _saved(one)
    yield from kept.pickling_faults(method, one.pruned)
    yield from _trained(one)


def _output(one: Attempt) -> Iterator[Row]:
    assert one.pruned is not None
    try:
        with torch.inference_mode():
            out = one.pruned.eval()(bench.inputs())
    except Exception as error:
        yield "output", f"the pruned network fails: {' '.join(str(error).split())[:200]}", "fix its shapes"
        return
    if tuple(out.shape) != (16, bench.CLASSES):
        yield "output", f"shape {tuple(out.shape)} instead of (16, {bench.CLASSES})", "keep the output's shape"
    elif not bool(torch.isfinite(out).all()):
        yield "output", "NaN or infinite logits", "check the layer's numerics"


def _unchanged(method: Method, one: Attempt) -> Iterator[Row]:
    assert one.pruned is not None
    if method.control is True or _is_at_loosest(method):
        return
    before, after = one.dense.state_dict(), one.pruned.state_dict()
    if before.keys() == after.keys() and all(_same(before[name], after[name]) for name in before):
        fix = 'raise NotApplicable("why") where nothing can be done'
        yield "unchanged", "prune returned the network as it was", fix


def _is_at_loosest(method: Method) -> bool:
    return bool(method.loosest) and all(getattr(method, k) == v for k, v in (method.loosest or {}).items())


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b))


def _counts(method: Method, one: Attempt) -> Iterator[Row]:
    """The check that the runner makes, too."""
    assert one.pruned is not None
    example = bench.inputs(1)
    before, after = counts(one.dense, example), counts(one.pruned, example, dense=one.dense)
    for fault in closed_form_faults(method, bench.task(one.dense).shapes, before, after):
        yield "counts", fault, CLOSED_FORM


def _saved(one: Attempt) -> Iterator[Row]:
    """Weights survive safetensors, and the network survives being copied."""
    assert one.pruned is not None
    try:
        other = copy.deepcopy(one.pruned).eval()
        state = {k: v.contiguous().clone() for k, v in other.state_dict().items() if isinstance(v, Tensor)}
        load_weights(other, safetensors.torch.load(safetensors.torch.save(state)), strict=False)
        with torch.inference_mode():
            same = torch.equal(one.pruned.eval()(bench.inputs(4)), other(bench.inputs(4)))
    except Exception as error:
        seen = f"copying, saving or reloading fails: {' '.join(str(error).split())[:200]}"
        yield "saved", seen, "keep state in parameters and buffers, no lambdas on modules"
        return
    if not same:
        yield "saved", "the reloaded network gives other outputs", "keep all state in parameters and buffers"


def _trained(one: Attempt) -> Iterator[Row]:
    """A step of fine-tuning, which a grid may ask for, in place: the network is not looked at again."""
    assert one.pruned is not None
    try:
        bench.task(one.dense).fit(one.pruned, epochs=1, max_steps=1)
    except Exception as error:
        fix = "keep forward differentiable; compute weights under torch.no_grad(), not torch.inference_mode()"
        yield "trained", f"fine-tuning fails: {' '.join(str(error).split())[:200]}", fix


def _overall(method: Method, attempts: list[Attempt]) -> list[Finding]:
    if all(one.pruned is None for one in attempts) and not any(one.error for one in attempts):
        reasons = "; ".join(sorted({one.declined for one in attempts}))[:300]
        return [Finding("declines", f"declined every network: {reasons}", "give the kit settings that apply")]
    return []


def _repeated(method: Method, where: str) -> Iterator[Row]:
    """The same seed gives the same weights, another one others if the method is stochastic; dense stays as it was."""
    first = attempt(method, where)
    again = attempt(method, where, global_seed=1)
    if not _equal_outputs(first, again):
        fix = "draw from task.generator only; reinitialise nothing"
        yield "determinism", "the same seed gave other weights", fix
    other = attempt(method, where, seed=1)
    differs = not _equal_outputs(first, other)
    if method.stochastic and not differs:
        yield "seed", "another seed gave the same weights", "use task.generator, or set stochastic = False"
    if not method.stochastic and not method.trains and differs:
        yield "seed", "another seed gave other weights", "set stochastic = True"
    yield from _shared_state(method, where)


def _equal_outputs(a: Attempt, b: Attempt) -> bool:
    if a.pruned is None or b.pruned is None:
        return a.pruned is b.pruned
    with torch.inference_mode():
        return torch.equal(a.pruned.eval()(bench.inputs()), b.pruned.eval()(bench.inputs()))


def _shared_state(method: Method, where: str) -> Iterator[Row]:
    """What `task.once` kept must survive a network that is trained on, and globals must stay as they were."""
    dense = bench.network(where)
    before = copy.deepcopy(dense.state_dict())
    task = bench.task(dense)
    around = kept.surroundings(task)
    try:
        first = method.prune(copy.deepcopy(dense), task).eval()
        with torch.inference_mode():
            expected = first(bench.inputs()).clone()
        with torch.no_grad():
            for tensor in first.state_dict().values():
                if isinstance(tensor, Tensor) and tensor.is_floating_point():
                    tensor.zero_()
        task.generator = bench.task(dense).generator
        second = method.prune(copy.deepcopy(dense), task).eval()
        with torch.inference_mode():
            is_same = torch.equal(expected, second(bench.inputs()))
    except Exception as error:
        yield from kept.surroundings_faults(around, kept.surroundings(task))
        yield "repeat", f"pruning a second copy fails: {' '.join(str(error).split())[:200]}", "keep no state"
        return
    if not is_same:
        yield "shared", "a second copy is pruned otherwise", "return copies of what task.once or the class keeps"
    if any(not _same(before[name], value) for name, value in dense.state_dict().items()):
        yield "dense", "the dense network was changed", "change only the network that prune is given"
    yield from kept.surroundings_faults(around, kept.surroundings(task))


def _types(method: Method, where: str) -> Iterator[Row]:
    for dtype in (torch.float64, torch.bfloat16):
        one = attempt(method, where, dtype=dtype)
        name = str(dtype).removeprefix("torch.")
        if one.error is not None:
            seen = f"fails on a {name} network: {' '.join(str(one.error).split())[:160]}"
            yield "dtype", seen, "decompose in float32 or better and return the layer's dtype"
        elif one.pruned is not None:
            floats = {p.dtype for p in one.pruned.parameters() if p.is_floating_point()}
            if floats - {dtype}:
                yield "dtype", f"a {name} network came back with {sorted(map(str, floats))}", "keep the layer's dtype"


def _loosest(cls: type[Method], where: str) -> Iterator[Row]:
    """At its loosest setting a method computes as the dense network does."""
    if cls.loosest is None:
        return
    method, faults = instance_or_findings(cls, dict(cls.loosest))
    if faults:
        yield "loosest", str(faults[0].seen), "fix `loosest`"
        return
    one = attempt(method, where)
    if one.error is not None:
        yield "loosest", f"fails at {dict(cls.loosest)}: {one.error}", "fix `loosest`"
    if one.pruned is None:
        return
    with torch.inference_mode():
        expected, got = one.dense(bench.inputs()), one.pruned.eval()(bench.inputs())
    error = float((got - expected).norm() / expected.norm())
    if not error <= IDENTITY_TOLERANCE:
        seen = f"at {dict(cls.loosest)} the output differs by {error:.2g} (relative, {where})"
        yield "loosest", seen, "carry every factor (singular values, biases, scales)"


SPARED = "leave alone what task.shapes gives a reason for (left_alone), and replace nothing that is read_outside"


def _odd(cls: type[Method], method: Method) -> Iterator[Row]:
    """Layers that only look plain must not be replaced as if they were."""
    dense = bench.odd_network()
    loosest = [] if cls.loosest is None else [instance_or_findings(cls, dict(cls.loosest))[0]]
    for tried in (method, *filter(None, loosest)):
        try:
            with seeded(0), torch.set_grad_enabled(True):
                pruned = tried.prune(private_copy(dense), bench.task(dense))
        except Exception:  # declined, or a failed trial: no wrong number either way
            continue
        if isinstance(pruned, nn.Module):
            yield from _odd_output(tried, dense, pruned)


def _odd_output(method: Method, dense: nn.Module, pruned: nn.Module) -> Iterator[Row]:
    try:
        with torch.inference_mode():
            expected, got = dense(bench.inputs()), fold_masks(pruned, dense).eval()(bench.inputs())
    except Exception as error:
        yield "layers", f"a network that reads a weight itself fails: {' '.join(str(error).split())[:160]}", SPARED
        return
    if not _is_at_loosest(method) or not isinstance(got, Tensor) or got.shape != expected.shape:
        return
    difference = float((got - expected).norm() / expected.norm())
    if not difference <= IDENTITY_TOLERANCE:
        seen = f"a layer that only looks plain was replaced as if it were: at loosest it differs by {difference:.2g}"
        yield "layers", seen, SPARED


def _speed(method: Method) -> Iterator[Row]:
    """A large layer must not take minutes."""
    if method.trains:
        return
    dense = _large()
    task = bench.task(dense)
    started = time.process_time()
    try:
        method.prune(copy.deepcopy(dense), task)
    except NotApplicable:
        return
    except Exception as error:
        yield "speed", f"fails on a {LARGE}×{LARGE} layer: {' '.join(str(error).split())[:160]}", "try a large layer"
        return
    seconds = time.process_time() - started
    if seconds > LARGE_SECONDS:
        yield "speed", f"a {LARGE}×{LARGE} layer took {seconds:.0f} s of CPU", f"stay below {LARGE_SECONDS:.0f} s"


def _large() -> nn.Module:
    with seeded(3):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(192, LARGE), nn.ReLU(), nn.Linear(LARGE, LARGE), nn.Linear(LARGE, bench.CLASSES)
        ).eval()
