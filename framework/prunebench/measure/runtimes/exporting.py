"""A network as a torch.export program and as ONNX, or which operator is in the way."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from prunebench import samples
from prunebench.errors import said
from prunebench.samples import Tree

OPERATOR = re.compile(r"op='([\w.:]+)', overload='(\w+)'")
LINE = re.compile(r'File "[^"]*", line \d+, in \w+\s+([^\n]{1,120})')
NOISY = ("torch.fx.experimental.symbolic_shapes", "torch._export", "torch.onnx", "onnxscript", "onnx_ir")


class Unexportable(Exception):
    """A network that a runtime cannot be given; the message says why, and which operator where one is known."""


@dataclass(frozen=True)
class Program:
    """What torch.export made of a network, for any batch size (`batch` is None) or for one."""

    program: Any
    batch: int | None


def exported(network: nn.Module, example: Tree, fixed: bool = False) -> Program:
    """The program, with any batch size where torch finds that it goes, else, or where it is `fixed`, the example's.

    Raises `Unexportable`, with the line of the network that is in the way.
    """
    arguments, keywords = call_of(example)
    free = _pytree.tree_map(lambda leaf: {0: torch.export.Dim.AUTO}, keywords or arguments)
    with _quiet(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # torch prints how far it came
        try:
            if fixed:
                raise Unexportable
            program = torch.export.export(_spare(network), arguments, keywords, dynamic_shapes=free)
            return Program(program, None if _is_free(program) else samples.count(example))
        except Exception:  # what cannot be exported for all sizes may go for one
            try:
                program = torch.export.export(_spare(network), arguments, keywords)
                return Program(program, samples.count(example))
            except Exception as error:  # the border: torch.export raises whatever it met
                raise Unexportable(_why(error)) from None


def _spare(network: nn.Module) -> nn.Module:
    """A copy: what a network keeps of a call for the next one is, while it is exported, no tensor with numbers."""
    try:
        return copy.deepcopy(network)
    except Exception as error:  # the border: a network of somebody's own may raise anything
        raise Unexportable(f"the network cannot be copied: {said(error, 200)}") from None


def _is_free(program: Any) -> bool:
    """Whether the first dimension of every input is a symbol, for which no number was found to be meant."""
    from torch.fx.experimental.symbolic_shapes import is_concrete_int

    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [node.meta["val"].shape for node in nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    return not any(is_concrete_int(shape[0]) for shape in shapes if len(shape))


def call_of(example: Tree) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a network is called with these samples: by position or by keyword."""
    if isinstance(example, dict):
        return (), example
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


def onnx_bytes(program: Program) -> bytes:
    """The program as an ONNX file's bytes; raises `Unexportable` naming the operator that ONNX has not."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise Unexportable("ONNX needs pip install 'prunebench[runtimes]'") from None
    with _quiet(), _one_registry(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        try:
            found = torch.onnx.export(program.program, (), dynamo=True, verbose=False)
            assert found is not None
            return bytes(found.model_proto.SerializeToString())
        except Exception as error:  # the border: the exporter names the operator that it does not know
            raise Unexportable(_why(error)) from None


def executorch_bytes(program: Program) -> tuple[bytes, tuple[str, ...]]:
    """The program as ExecuTorch's file, and the operators that XNNPACK leaves to ExecuTorch's own kernels.

    Raises `Unexportable` naming what is in the way.
    """
    with _quiet(), torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # it is called experimental throughout
        try:
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(program.program, partitioner=[XnnpackPartitioner()])
            calls = [node.target for node in lowered.exported_program().graph.nodes if node.op == "call_function"]
            left = {str(call) for call in calls if "delegate" not in str(call) and "getitem" not in str(call)}
            return bytes(lowered.to_executorch().buffer), tuple(sorted(left))
        except Exception as error:  # the border: the operator that it does not know
            raise Unexportable(_why(error)) from None


def _why(error: BaseException) -> str:
    """The innermost reason in one line: the operator, or what torch said with the line that it said it of."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for cause in reversed(causes):
        if operator := OPERATOR.search(str(cause)):
            return f"no ONNX function for the operator {operator[1].replace('::', '.')}.{operator[2]}"
    first = str(causes[-1]).strip().split("\n", 1)[0][:200] or type(causes[-1]).__name__
    place = LINE.search(str(causes[-1]))
    return said(ValueError(f"{first}, at `{place[1].strip()}`" if place else first), 400)


_REGISTRIES: dict[Any, Any] = {}


@contextlib.contextmanager
def _one_registry() -> Iterator[None]:
    """torch reads the source of 500 translations for each export, which takes half of its time: here, once per process.

    What it has read is not changed by an export without translations of its own. Of a torch that keeps it elsewhere
    nothing is changed.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        original = ONNXRegistry.__dict__["from_torchlib"]
    except (ImportError, KeyError):
        yield
        return

    def kept(cls: Any, *args: Any, **options: Any) -> Any:
        key = (cls, args, tuple(sorted(options.items())))
        if key not in _REGISTRIES:
            _REGISTRIES[key] = original.__func__(cls, *args, **options)
        return _REGISTRIES[key]

    ONNXRegistry.from_torchlib = classmethod(kept)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = original  # type: ignore[method-assign]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters log what they try and give up again."""
    loggers = [logging.getLogger(name) for name in NOISY]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
