"""A loss that somebody has in hand, as an objective; and which objective data call for without one."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.errors import DataError, InvalidOutput, PruneBenchError, said
from prunebench.own.network import network_code, source
from prunebench.plugins.contracts import Objective

Loss = Callable[[Any, Any], Tensor]


class OwnLoss(Objective):
    """Scored by the mean of a loss over the samples, smaller is better; two networks are compared sample by sample."""

    name = "own_loss"
    score = "loss"
    units = {"loss": ""}
    larger_is_better = False
    compared = "ratio"
    paired = "values"
    function: Loss

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Of the batch, as the function has it."""
        found = type(self).function(outputs, targets)
        if not isinstance(found, Tensor) or found.ndim:
            kind = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise InvalidOutput(f"the loss must be one number, the mean over the batch, got {kind}")
        return found

    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """The loss of every sample alone."""
        count = samples.count(targets)
        rows = [slice(i, i + 1) for i in range(count)]
        found = [self.loss(samples.rows(outputs, row), samples.rows(targets, row)).detach().double() for row in rows]
        return {"value": torch.stack(found)}

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Nobody knows what the function takes."""
        raise NotImplementedError("a loss of your own has no example")


def own_loss(function: Loss) -> type[OwnLoss]:
    """The objective of one loss; raises `PruneBenchError` for what cannot be called."""
    if not callable(function):
        raise PruneBenchError(f"loss must be a function of (outputs, targets), got {type(function).__name__}")
    return type("OwnLoss", (OwnLoss,), {"function": staticmethod(function), "__module__": "here"})


def loss_code(function: Loss) -> str:
    """What the loss is made of, as text: its source and, of a module, its settings."""
    if isinstance(function, nn.Module):
        return f"{network_code(function)} {function}"
    return source(function) if isinstance(function, types.FunctionType) else f"{source(type(function))} {function!r}"


def require_finite(function: Loss, outputs: Any, targets: Any) -> None:
    """Raise `DataError` where the loss of the dense network's first samples is no number."""
    try:
        value = float(function(outputs, targets))
    except Exception as error:  # the border: a loss of somebody's own may raise anything
        raise DataError(f"the loss does not accept the network's outputs and the targets: {said(error, 300)}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise DataError(f"the loss of the network as it was given is {value}: it must be finite")


def objective_for(inputs: Any, targets: Any) -> str:
    """`classification`, `regression` or `language_modelling` by the targets' type; raises `DataError` for others."""
    if isinstance(targets, Tensor):
        if targets.dtype == torch.int64 and targets.ndim == 1:
            return "classification"
        if targets.is_floating_point() and targets.ndim in (1, 2):
            return "regression"
        if targets.dtype == torch.int64 and targets.ndim == 2 and not _floats(inputs):
            return "language_modelling"
    raise DataError(
        f"no objective is known for targets {samples.shapes(targets)}: int64 (N,) are classes, floats (N,) or (N, K) "
        "numbers, int64 (N, T) the next tokens; for others give loss=, a function of (outputs, targets)"
    )


def _floats(inputs: Any) -> bool:
    return any(leaf.is_floating_point() for leaf in samples.leaves(inputs))
