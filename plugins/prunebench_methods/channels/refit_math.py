"""Refitting the layers of a shrunken network, first to last, to what the dense ones answered.

Letters: a layer reads n numbers a position (channels times kernel taps, and a one for the bias) and writes T. What
counts are the values at its landing, behind the batch norm and the residual addition that alone receive its output:
scale · output + shift + other, other being what is added. So a layer makes up for what the layers before it, and those
on the other branch, have come to miss. Where a ReLU follows, all values below zero are as good as one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.channels.landings import Landing, Values
from prunebench_methods.channels.regularisation import HELD, Sums, held_out_pull
from prunebench_methods.shared.numerics import like, working

BATCH = 64  # images a forward pass
ROWS = 8192  # samples times positions a regression, at least
ROWS_A_NUMBER = 8
ROUNDS = 4  # regressions where a ReLU follows, each free below zero where the one before was
ROUNDS_NUMBERS = 2**26  # that are kept in memory for them; where there are more one has to do
MUTED = 1e-6  # share of the largest scale below which a batch norm lets nothing through


Answers = dict[str, list[tuple[Tensor, Tensor]]]  # layer -> for each batch its places, and the values there (rows, T)


class _Line(NamedTuple):
    """What the batch norm behind a layer does to its outputs, scale and shift (T,) each."""

    scale: Tensor
    shift: Tensor

    def outputs(self, values: Tensor) -> Tensor:
        """What the layer must write to have these values behind the norm."""
        return (values - self.shift) / torch.where(self.muted(), 1.0, self.scale)

    def muted(self) -> Tensor:
        return self.scale.abs() <= MUTED * self.scale.abs().max()


class _Rows(NamedTuple):
    """Of one batch: what the layer reads (rows, n), the dense values (rows, T), and what is added to its own."""

    read: Tensor
    wanted: Tensor
    other: Tensor


def row_count(layer: nn.Module) -> int:
    """Rows that determine the layer's numbers well."""
    return max(ROWS, ROWS_A_NUMBER * working(layer.weight)[0].numel())  # type: ignore[arg-type]


@torch.no_grad()
def dense_answers(
    dense: nn.Module,
    lands: Mapping[str, Landing],
    kept: Mapping[str, Tensor],
    images: Tensor,
    generator: torch.Generator,
) -> Answers:
    """Random places where every layer's outputs land, and the dense network's values there.

    `kept` names the outputs that a layer will still have; without an entry it has all.
    """
    found: Answers = {name: [] for name in lands}
    ends, values = {land.end for land in lands.values()}, Values(dense)
    for batch in batched(images):
        seen = values.at(ends, batch)
        for name, land in lands.items():
            rows = _rows(seen[land.end])
            share = -(-row_count(dense.get_submodule(name)) * len(batch) // len(images))
            if share < len(rows):
                places = torch.randint(len(rows), (share,), generator=generator).to(rows.device)
            else:
                places = torch.arange(len(rows), device=rows.device)
            answers = rows[places]
            found[name].append((places, answers[:, kept[name]] if name in kept else answers))
    return found


def batched(images: Tensor) -> Sequence[Tensor]:
    """Batches of which some can be held out, however few images there are."""
    result: Sequence[Tensor] = images.split(min(BATCH, -(-len(images) // HELD)))
    return result


def _rows(values: Tensor) -> Tensor:
    """(N, T) or (N, T, H, W) with one row per sample and position."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


@torch.no_grad()
def refit(network: nn.Module, answers: Answers, lands: Mapping[str, Landing], images: Tensor) -> None:
    """Every layer of `answers` in turn, on the inputs that the refitted ones before it produce; in place.

    The batch norm behind a layer without a bias takes over its constant.
    """
    values = Values(network)
    for name, seen in answers.items():
        layer, land = network.get_submodule(name), lands[name]
        norm = network.get_submodule(land.norm) if land.norm else None
        now = _numbers(layer, has_constant=layer.bias is not None or norm is not None)
        batches: Iterable[_Rows] = _batches(values, layer, land, seen, images, now.shape[1])
        rounds = 1
        if land.is_rectified and sum(len(places) for places, _ in seen) * now.shape[1] <= ROUNDS_NUMBERS:
            batches, rounds = list(batches), ROUNDS
        _set(layer, norm, _regressed(batches, now, _line(layer, norm), rounds))


def _numbers(layer: nn.Module, *, has_constant: bool) -> Tensor:
    """(T, n): the weight, and where it has a constant the bias behind it."""
    weight = working(layer.weight).flatten(1).double()  # type: ignore[arg-type]
    if not has_constant:
        return weight
    bias = weight.new_zeros(len(weight)) if layer.bias is None else working(layer.bias).double()  # type: ignore[arg-type]
    return torch.cat((weight, bias[:, None]), dim=1)


def _line(layer: nn.Module, norm: nn.Module | None) -> _Line:
    ones = torch.ones_like(working(layer.weight).flatten(1)[:, 0])  # type: ignore[arg-type]
    if norm is None:
        return _Line(ones, 0 * ones)
    weight = ones if norm.weight is None else working(norm.weight)  # type: ignore[arg-type]
    bias = 0 * ones if norm.bias is None else working(norm.bias)  # type: ignore[arg-type]
    scale = weight / (working(norm.running_var) + norm.eps).sqrt()  # type: ignore[arg-type,operator]
    return _Line(scale, bias - working(norm.running_mean) * scale)  # type: ignore[arg-type]


def scales_behind(network: nn.Module, name: str, norms: Mapping[str, str]) -> Tensor:
    """(T,): what the batch norm that alone receives a layer's outputs multiplies them by; ones without."""
    norm = network.get_submodule(norms[name]) if name in norms else None
    has_statistics = getattr(norm, "running_mean", None) is not None
    return _line(network.get_submodule(name), norm if has_statistics else None).scale


def _batches(
    values: Values, layer: nn.Module, land: Landing, seen: list[tuple[Tensor, Tensor]], images: Tensor, numbers: int
) -> Iterator[_Rows]:
    for batch, (places, wanted) in zip(batched(images), seen, strict=True):
        found = values.at({land.source, land.other} - {""}, batch)
        read = working(read_rows(layer, found[land.source])[places])
        if numbers > read.shape[1]:
            read = torch.cat((read, read.new_ones(len(read), 1)), dim=1)
        other = working(_rows(found[land.other])[places]) if land.other else read.new_zeros(())
        yield _Rows(read, working(wanted), other)


def read_rows(layer: nn.Module, entries: Tensor) -> Tensor:
    """What the layer's weights meet, one row per sample and position: (rows, in · kh · kw)."""
    return _patches(layer, entries) if isinstance(layer, nn.Conv2d) else entries


def _patches(layer: nn.Conv2d, entries: Tensor) -> Tensor:
    """(samples · positions, channels · kh · kw), in the order of the weight's entries."""
    top, left = layer._reversed_padding_repeated_twice[2:], layer._reversed_padding_repeated_twice[:2]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(entries, [*left, *top], mode=mode)
    found = functional.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    return found.transpose(1, 2).flatten(0, 1)


def _regressed(batches: Iterable[_Rows], now: Tensor, line: _Line, rounds: int) -> Tensor:
    """The layer's new numbers (T, n), pulled towards those of `now`; more than one round rectifies.

    How strongly, batches that are held out decide, on the values before any rectifier.
    """
    fitted, held = Sums.like(now), Sums.like(now)
    for place, (read, wanted, other) in enumerate(batches):
        (held if place % HELD == 1 else fitted).add(read, line.outputs(wanted - other))
    share = held_out_pull(fitted, held, now, line.scale.double().square())
    fitted.join(held)
    pulled = fitted.pulled(share, now)
    found = pulled.solution(fitted.right)
    for _ in range(rounds - 1):
        right = torch.zeros_like(fitted.right)
        for read, wanted, other in batches:
            got = line.scale * (read @ found.to(read)) + line.shift + other
            free = torch.where((wanted < 0) & (got < 0), got, wanted.clamp_min(0))
            right += (read.T @ line.outputs(free - other)).double()
        found = pulled.solution(right)
    return torch.where(line.muted()[:, None], now, found.T)


def _set(layer: nn.Module, norm: nn.Module | None, numbers: Tensor) -> None:
    shape = layer.weight.shape
    size = layer.weight[0].numel()  # type: ignore[index]
    layer.weight = like(numbers[:, :size].reshape(shape), layer)  # type: ignore[arg-type]
    if layer.bias is not None:
        layer.bias = like(numbers[:, -1], layer)
    elif norm is not None:
        norm.running_mean -= numbers[:, -1].to(norm.running_mean)
