"""What a network scores on a split, by what the data set's objective says of each sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.errors import InvalidOutput
from prunebench.measure.heap import give_back_free
from prunebench.measure.statistics import pack_bits, pack_values
from prunebench.measure.unchanged import Kept
from prunebench.plugins.contracts import Objective
from prunebench.samples import Footprint
from prunebench.splits import Split

__all__ = ["InvalidOutput", "Scores", "evaluate", "judged_batches"]

Judged = dict[str, Tensor]

LARGE_BYTES = 16 << 20  # of one batch's outputs
FEW = 16  # samples in a batch


@dataclass(frozen=True)
class Scores:
    """The objective's numbers, and what it said of each sample, as in `records.Measurement`."""

    test_count: int
    score: float
    numbers: Mapping[str, float]
    correct: str = ""  # a bitmap, where the objective judges right or wrong
    values: str = ""  # where it gives values: float32, base64
    weights: str = ""  # and what they are summed over, empty for 1 each

    @property
    def top1_accuracy(self) -> float | None:
        """A fraction in [0, 1]; None where the objective has none."""
        return self.numbers.get("top1_accuracy")

    @property
    def top5_accuracy(self) -> float | None:
        """The same for the first five, of more than five classes."""
        return self.numbers.get("top5_accuracy")

    @property
    def loss(self) -> float | None:
        """The mean loss, where the objective tells it."""
        return self.numbers.get("loss")


def evaluate(
    network: nn.Module,
    split: Split,
    objective: Objective,
    device: torch.device | str,
    *,
    limit: int = 0,
    breathe: Callable[[], None] = lambda: None,
    footprint: Footprint | None = None,
) -> Scores:
    """Scores of `network` on the first `limit` samples (0: all); `breathe` is called between batches.

    The `footprint` of a network that answers alike, as the dense one does, spares a call that finds the batch size.
    Raises `InvalidOutput` where the outputs do not fit the targets or are not finite, where a score is not finite, and
    where the forward pass changes the network's own weights.
    """
    if not len(split):
        raise InvalidOutput("there is no test sample to score: the split is empty")
    before = Kept.of(network)
    with evaluating(network), torch.inference_mode():
        batches = judged_batches(network, split, objective, device, limit=limit, breathe=breathe, footprint=footprint)
        judged = gathered(batches)
    before.require_unchanged(network)
    return scores_of(objective, judged)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode restored after."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def judged_batches(
    network: nn.Module,
    split: Split,
    objective: Objective,
    device: torch.device | str,
    *,
    limit: int = 0,
    breathe: Callable[[], None] = lambda: None,
    footprint: Footprint | None = None,
) -> Iterator[Judged]:
    """What the objective says of each batch of the first `limit` samples (0: all); the outputs are not kept.

    A `footprint` of small batches is taken as this network's; beside larger ones a call on one sample is little. Where
    the first batch shows that this network's asks for another size, all begins again without it.
    """
    left = limit or len(split)
    first = split.head(1)[0]
    is_known = footprint is not None and footprint.inputs == samples.shapes(first)
    if footprint is None or not is_known or footprint.batch_size() > FEW:
        is_known, footprint = False, Footprint.of(network, samples.moved(first, device))
    size = footprint.batch_size()
    for inputs, targets in split.batches(size, device):
        breathe()
        inputs, targets = samples.rows(inputs, slice(left)), samples.rows(targets, slice(left))
        count = samples.count(targets)
        outputs = samples.call(network, inputs)
        output_bytes = samples.byte_count(outputs)
        if is_known and replace(footprint, output_bytes=output_bytes // count).batch_size() != size:
            del outputs
            yield from judged_batches(network, split, objective, device, limit=limit, breathe=breathe)
            return
        is_known = False
        judged = checked_batch(objective, objective.judge(outputs, targets), count)
        del outputs
        if output_bytes > LARGE_BYTES and torch.device(device).type == "cpu":
            give_back_free()  # else the heap grows batch by batch: what comes next breaks up what was freed
        yield judged
        left -= count
        if left <= 0:
            return


def checked_batch(objective: Objective, judged: Mapping[str, Tensor], count: int) -> Judged:
    """What `judge` returned, held to its contract."""
    for name, value in judged.items():
        if not isinstance(value, Tensor) or (value.ndim and len(value) != count):
            seen = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InvalidOutput(f"objective {objective.name}: judge must give {name} ({count}, ...) or (), got {seen}")
    if objective.paired != "none" and "value" not in judged:
        raise InvalidOutput(f"objective {objective.name}: judge gives no `value`, which paired = {objective.paired!r}")
    if objective.paired == "values" and judged["value"].ndim != 1:
        raise InvalidOutput(f"objective {objective.name}: `value` must be ({count},), got {_shape(judged['value'])}")
    if objective.paired == "bits" and (judged["value"].ndim != 1 or judged["value"].dtype != torch.bool):
        raise InvalidOutput(
            f"objective {objective.name}: `value` must be bool ({count},), got {_shape(judged['value'])}"
        )
    return dict(judged)


def _shape(value: Tensor) -> str:
    return samples.shapes(value)


def gathered(batches: Iterator[Judged]) -> Judged:
    """All batches as one, on the CPU: rows behind rows, sums added up in float64."""
    columns: dict[str, list[Tensor]] = {}
    for judged in batches:
        for name, value in judged.items():
            columns.setdefault(name, []).append(value)
    return {
        name: torch.cat(parts).cpu() if parts[0].ndim else torch.stack(parts).double().sum().cpu()
        for name, parts in columns.items()
    }


def scores_of(objective: Objective, judged: Judged) -> Scores:
    """The numbers of a split from all that was said of its samples; raises `InvalidOutput` for what is not finite."""
    _require_finite(judged)
    count = next(len(value) for value in judged.values() if value.ndim)
    numbers = checked_numbers(objective, objective.scores(judged))
    kept = _kept(objective, judged)
    return Scores(count, numbers[objective.score], numbers, *kept)


def _require_finite(judged: Judged) -> None:
    """Raise where the objective calls samples not finite, or their `value` is none."""
    finite = judged.get("finite")
    if finite is None and "value" in judged:
        finite = judged["value"].isfinite()
    if finite is not None and not finite.all():
        bad = (~finite).nonzero().flatten()
        raise InvalidOutput(
            f"{len(bad)} of {len(finite)} outputs hold NaN or infinity, first for test sample {int(bad[0])}"
        )


def checked_numbers(objective: Objective, numbers: Mapping[str, float]) -> dict[str, float]:
    """The objective's numbers; raises `InvalidOutput` for one that is not finite or has no unit, or no headline."""
    for name, value in numbers.items():
        if name not in objective.units:
            known = ", ".join(objective.units)
            raise InvalidOutput(f"objective {objective.name}: {name!r} has no unit: its `units` name {known}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidOutput(f"{name} must be a finite number, got {value!r}: no score can be stored")
    if objective.score not in numbers:
        raise InvalidOutput(f"objective {objective.name}: scores must hold {objective.score!r}, its headline")
    return {name: float(value) for name, value in numbers.items()}


def _kept(objective: Objective, judged: Judged) -> tuple[str, str, str]:
    """Bitmap, values and weights, as they are stored; empty where the objective has none."""
    if objective.paired == "bits":
        return pack_bits(judged["value"].numpy()), "", ""
    if objective.paired == "values":
        weights = judged.get("weight")
        packed = "" if weights is None else pack_values(weights.numpy().astype(np.float32))
        return "", pack_values(judged["value"].numpy().astype(np.float32)), packed
    return "", "", ""
