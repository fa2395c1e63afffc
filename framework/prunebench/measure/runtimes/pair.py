"""Both sides of a pair as a runtime runs them, exported once per network, held to what torch answers."""

from __future__ import annotations

import importlib.metadata
import time
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.measure.runtimes.artifact import OPENVINO, PROVIDERS, Artifact, require
from prunebench.measure.runtimes.exporting import Program, Unexportable, executorch_bytes, exported, onnx_bytes
from prunebench.measure.runtimes.quantizing import quantized
from prunebench.measure.scores import evaluating
from prunebench.records import LatencyProtocol
from prunebench.samples import Tree

TOLERANCE = 1e-4  # absolute, and relative to each output: within it a runtime agrees with torch
WRONG = 0.1  # of the largest output: beyond it the runtime runs another network, of which no time is told
WRONG_INT8 = 0.5  # the same of integers, whose outputs differ by what rounding makes
EXAMPLE_ROWS = 4  # with one sample torch.export takes the batch for fixed

_PROGRAMS: weakref.WeakKeyDictionary[nn.Module, dict[Any, Any]] = weakref.WeakKeyDictionary()
_ANSWERS: weakref.WeakKeyDictionary[nn.Module, dict[int, _Answer]] = weakref.WeakKeyDictionary()  # by batch size


@dataclass(frozen=True, eq=False)
class Given:
    """A network to export: `quantizer` is "int8" where the runtime's own is to be applied, on `calibration`."""

    network: nn.Module  # whose outputs the runtime's are compared with
    exportable: nn.Module
    quantizer: str = ""
    calibration: Tree = None


@dataclass(frozen=True, eq=False)
class _Answer:
    """What torch answered to `x`, and how far runtimes, each with its settings, are from that."""

    x: Tree
    state: tuple[Any, ...]  # of the network then: an answer of other weights is none
    wanted: list[Tensor]
    distances: dict[Any, tuple[float, float, bool]] = field(default_factory=dict)


@dataclass
class Ready:
    """The two sides for one batch size, and what to record of them."""

    dense: nn.Module
    pruned: nn.Module
    facts: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def ready(dense: Given, pruned: Given, x: Tree, protocol: LatencyProtocol, device: torch.device) -> Ready:
    """Both networks exported, compared on `x`; raises `Unexportable` where either side cannot be.

    A network that is exported for any batch size is exported once, whatever sizes are asked for, and a dense one is
    exported and compared once for all trials that are timed against it.
    """
    if device.type != "cpu":
        raise Unexportable(f"{protocol.runtime} is timed only on the CPU, this is {device}")
    if protocol.runtime in PROVIDERS:
        require(protocol.runtime)
    found = Ready(dense.exportable, pruned.exportable, _versions(protocol))
    for name, given in (("dense", dense), ("pruned", pruned)):
        try:
            side, facts = _side(given, x, protocol)
        except Unexportable as error:
            raise Unexportable(f"{error} ({name} network)") from None
        setattr(found, name, side)
        found.facts |= {f"{name}_{key}": value for key, value in facts.items()}
        if not facts["agrees"]:
            found.flags = ("outputs-differ",)
    return found


def _versions(protocol: LatencyProtocol) -> dict[str, Any]:
    runtime = protocol.runtime
    facts: dict[str, Any] = {"runtime": runtime, "tolerance": TOLERANCE}
    facts["runtime_version"] = importlib.metadata.version("torch" if runtime == "torch_export" else runtime)
    if runtime in PROVIDERS:
        facts["provider"] = PROVIDERS[runtime]
    if runtime == "openvino":
        facts["runtime_options"] = {**OPENVINO, "INFERENCE_NUM_THREADS": protocol.threads}
    return facts


def _side(given: Given, x: Tree, protocol: LatencyProtocol) -> tuple[nn.Module, dict[str, Any]]:
    """One side and what is known of it: its file's bytes, what its export took, how far it is from torch."""
    start = time.perf_counter()
    made, is_new = _once(given, x, protocol)
    facts: dict[str, Any] = {"export_seconds": round(time.perf_counter() - start, 3) if is_new else 0.0}
    if isinstance(made, Artifact):
        facts |= {"file_bytes": made.file_bytes, "batch": "any" if made.batch is None else "fixed"}
        facts |= {"quantizer": made.quantizer} if made.quantizer else {}
        facts |= {"not_in_xnnpack": list(made.left)} if made.left else {}
    difference, largest, agrees = _distance(given, made, x, protocol)
    if difference > (WRONG_INT8 if given.quantizer else WRONG) * largest:
        raise Unexportable(f"{protocol.runtime} gives other outputs than torch, by {difference:.3g} of {largest:.3g}")
    return made, {**facts, "difference": difference, "agrees": agrees}


def _distance(given: Given, made: nn.Module, x: Tree, protocol: LatencyProtocol) -> tuple[float, float, bool]:
    """As `compared` says; of a network that stays as it is once per runtime, whatever it is timed against."""
    torchs, key = _answer(given.network, x), (made, protocol.threads, protocol.dynamic_batch)
    if key not in torchs.distances:
        if isinstance(made, Artifact):
            answers = made.runner(x, protocol.threads, protocol.dynamic_batch).outputs()
        else:
            with torch.inference_mode():
                answers = samples.leaves(samples.call(made, x))
        torchs.distances[key] = _apart(torchs.wanted, answers)
    return torchs.distances[key]


def _answer(network: nn.Module, x: Tree) -> _Answer:
    known, count, state = _ANSWERS.setdefault(network, {}), samples.count(x), _state(network)
    found = known.get(count)
    if found is None or found.state != state or not _equal(found.x, x):
        found = known[count] = _Answer(samples.mapped(Tensor.clone, x), state, _wanted(network, x))
    return found


def _state(network: nn.Module) -> tuple[Any, ...]:
    """Changes when a weight does: torch counts what is done to a tensor in place."""
    own = [(*module._parameters.values(), *module._buffers.values()) for module in network.modules()]
    every = [t for tensors in own for t in tensors if t is not None]
    return tuple((id(t), object() if t.is_inference() else t._version) for t in every)  # not counted there


def _equal(one: Tree, other: Tree) -> bool:
    pairs = zip(samples.leaves(one), samples.leaves(other), strict=True)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _once(given: Given, x: Tree, protocol: LatencyProtocol) -> tuple[nn.Module, bool]:
    known = _PROGRAMS.setdefault(given.exportable, {})
    count = samples.count(x)
    for key in ((protocol.runtime, given.quantizer, size) for size in (None, count)):
        if key in known:
            return known[key], False
    made = _made(given, x, protocol, known)
    known[protocol.runtime, given.quantizer, made.batch] = made
    return made, True


def _program(given: Given, x: Tree, known: dict[Any, Any]) -> Program:
    """From torch.export, which both ONNX runtimes start from."""
    count = samples.count(x)
    for size in (None, count):
        if ("program", size) in known:
            found: Program = known["program", size]
            return found
    example = samples.rows(x, torch.arange(max(count, EXAMPLE_ROWS)) % count)
    with evaluating(given.exportable):
        program = exported(given.exportable, example)
        if program.batch is not None and program.batch != count:  # not for any size: for the one that is timed
            program = Program(exported(given.exportable, x).program, count)
    known["program", program.batch] = program
    return program


class _Exported(nn.Module):
    """A torch.export program for one `batch` size or for any (None), as a module in evaluation mode for good."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.module, self.batch = program.program.module(), program.batch

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def train(self, mode: bool = True) -> _Exported:
        """Programs have no modes."""
        return self


def _made(given: Given, x: Tree, protocol: LatencyProtocol, known: dict[Any, Any]) -> Artifact | _Exported:
    if protocol.runtime == "executorch":
        return _for_executorch(given, x)
    program = _program(given, x, known)
    if protocol.runtime == "torch_export":
        return _Exported(program)
    assert protocol.runtime in ("onnxruntime", "openvino")
    key = ("onnx", program.batch)
    if key not in known:  # one file for both runtimes
        known[key] = onnx_bytes(program)
    data, quantizer = known[key], ""
    if given.quantizer:
        data, quantizer = quantized(data, given.calibration, program.batch)
    return Artifact(data, protocol.runtime, program.batch, quantizer)


def _for_executorch(given: Given, x: Tree) -> Artifact:
    """For this batch size: its memory is planned before it runs."""
    if given.quantizer:
        raise Unexportable("integers by a runtime's own quantizer are offered for ONNX Runtime and OpenVINO alone")
    with evaluating(given.exportable):
        program = exported(given.exportable, x, fixed=True)
    data, left = executorch_bytes(program)
    made = Artifact(data, "executorch", program.batch)
    made.left = left
    return made


def compared(network: nn.Module, x: Tree, answers: list[Tensor]) -> tuple[float, float, bool]:
    """Largest difference from what `network` answers, the largest answer, and whether all are within the tolerance."""
    return _apart(_wanted(network, x), answers)


def _wanted(network: nn.Module, x: Tree) -> list[Tensor]:
    with evaluating(network), torch.no_grad():
        return samples.leaves(samples.call(network, x))


def _apart(wanted: list[Tensor], answers: list[Tensor]) -> tuple[float, float, bool]:
    if [tuple(a.shape) for a in wanted] != [tuple(b.shape) for b in answers]:
        raise Unexportable(f"it answers {samples.shapes(answers)}, torch {samples.shapes(wanted)}")
    difference, largest, agrees = 0.0, 0.0, True
    for a, b in zip(wanted, answers, strict=True):
        gap = (a.double().cpu() - b.double().cpu()).abs()
        difference, largest = max(difference, float(gap.max())), max(largest, float(a.double().abs().max()))
        agrees &= bool((gap <= TOLERANCE + TOLERANCE * a.double().cpu().abs()).all())
    if not difference == difference:
        raise Unexportable("its outputs are not finite")
    return difference, largest, agrees
