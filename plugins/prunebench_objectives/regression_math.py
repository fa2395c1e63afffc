"""What numbers are worth beside the ones that were wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench import InvalidOutput, Splits
from torch import Tensor, nn


def loss(outputs: Any, targets: Any) -> Tensor:
    """Mean over samples and numbers, differentiable."""
    found, wanted = _fitting(outputs, targets)
    return nn.functional.mse_loss(found, wanted)


def judged(outputs: Any, targets: Any) -> dict[str, Tensor]:
    """`value` (B,): squared error; `errors` and `targets` (B, K), all in float64."""
    found, wanted = _fitting(outputs, targets)
    errors = (found.double() - wanted.double()).square()
    return {"value": errors.mean(1), "errors": errors, "targets": wanted.double()}


def _fitting(outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as (B, K)."""
    if not isinstance(outputs, Tensor):
        raise InvalidOutput(f"the network must return a tensor of numbers, got {type(outputs).__name__}")
    if not isinstance(targets, Tensor) or not targets.is_floating_point() or not 1 <= targets.ndim <= 2:
        seen = f"{targets.dtype} {tuple(targets.shape)}" if isinstance(targets, Tensor) else type(targets).__name__
        raise InvalidOutput(f"regression needs float targets (B,) or (B, K), the data set gives {seen}")
    wanted = targets.reshape(len(targets), -1)
    if outputs.numel() != wanted.numel() or len(outputs) != len(wanted) or outputs.ndim > 2:
        raise InvalidOutput(f"outputs must have shape {tuple(wanted.shape)}, got {tuple(outputs.shape)}")
    return outputs.reshape(wanted.shape), wanted


def scores(judged: Mapping[str, Tensor]) -> dict[str, float]:
    """The numbers of a split; raises `InvalidOutput` where the targets do not vary, for r2 has no meaning then."""
    squared, total = judged["errors"].sum(0), _total(judged["targets"])
    mean = float(judged["errors"].mean())
    return {"r2": float((1 - squared / total).mean()), "rmse": mean**0.5, "loss": mean}


def _total(targets: Tensor) -> Tensor:
    total = (targets - targets.mean(0)).square().sum(0)  # (K,)
    if not bool((total > 0).all()):
        raise InvalidOutput("the targets of the split do not vary: r2 has no meaning, use more samples")
    return total


def floors(splits: Splits) -> dict[str, float]:
    """`mean`: r2 of the training mean, where both splits are held whole."""
    train, test = (getattr(split, "targets", None) for split in (splits.train, splits.test))
    if not isinstance(train, Tensor) or not isinstance(test, Tensor) or len(test) < 2:
        return {}
    wanted, guess = test.double().reshape(len(test), -1), train.double().reshape(len(train), -1).mean(0)
    return {"mean": float((1 - (guess - wanted).square().sum(0) / _total(wanted)).mean())}
