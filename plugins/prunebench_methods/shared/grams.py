"""Gram matrices of what layers are given: taken in one pass of the dense network, for all methods and all settings.

Letters: a layer has g groups (1 but for grouped convolutions) and in each a weight W (m/g, n); x (n,) is one vector
that a group is given, N how many there were.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from prunebench import NotApplicable, Task, samples
from torch import Tensor, nn

from prunebench_methods.shared.calibration import channel_rows, entered, run_calibration
from prunebench_methods.shared.numerics import flattened, times_symmetric, working
from prunebench_methods.shared.patches import chosen_positions, patches
from prunebench_methods.shared.replace import Layer, linear_and_conv_layers, shapes_by_name
from prunebench_methods.shared.selection import section_holds, too_wide
from prunebench_methods.shared.shelf import Kept, Shelf, shelf_of
from prunebench_methods.shared.walking import OutOfOrder, run_blocks

SQUARED = 256  # rows that are copied in float64 at once
SLICE = 4096  # rows that are multiplied in one precision before their sum is added up in float64


@dataclass
class Gram:
    """Sums over the vectors x of a layer, in float64; held as rows while they are fewer than they are wide."""

    count: int = 0
    total: Tensor | None = None  # (g, n), sum of x
    products: Tensor | None = None  # (g, n, n), sum of x x'
    rows: list[Tensor] = field(default_factory=list)  # of (k, g, n), instead of products
    away: Kept | None = None  # products or rows, where they wait on a shelf
    is_multiplied: bool = False  # then whether they are products
    squares: Tensor | None = None  # then what `diagonal` answers
    found: dict[Hashable, Any] = field(default_factory=dict)  # see `lately`
    is_read_next: bool = False  # whether the layer after this one reads the same inputs

    def add(self, rows: Tensor) -> None:
        """Take in rows (k, g, n): multiplied in float32 or better a slice at a time, added up in float64."""
        rows = working(rows)
        if self.away is not None:
            self.products, self.rows = self.held()
            self.away = self.squares = None
        self.count += len(rows)
        total = rows.sum(0, dtype=torch.float64)
        self.total = total if self.total is None else self.total + total
        if self.products is None and self.count <= rows.shape[2]:
            self.rows.append(rows.clone())  # the network may go on in place
            return
        for part in [*self.rows, *rows.split(SLICE)]:
            self._multiply(part)
        self.rows = []

    def _multiply(self, rows: Tensor) -> None:
        side = rows.transpose(0, 1)  # (g, k, n)
        with torch.autocast(rows.device.type, enabled=False):  # it would multiply in half precision
            product = torch.bmm(side.transpose(1, 2), side)
        self.products = product.double() if self.products is None else self.products.add_(product)

    def put_away(self, shelf: Shelf) -> None:
        """Products or rows onto the shelf, from where each question reads them."""
        if self.away is None:
            self.squares = self.diagonal().clone()
            self.away = shelf.put(self.rows if self.products is None else (self.products,))
            self.is_multiplied, self.products, self.rows = self.products is not None, None, []

    def held(self) -> tuple[Tensor | None, list[Tensor]]:
        """Products, or rows instead of them."""
        if self.away is None:
            return self.products, self.rows
        found = self.away.read()
        return (found[0], []) if self.is_multiplied else (None, list(found))

    def lately(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """What `compute` finds, or found for the layer before under this key; kept where the next one reads it, too.

        Whether it does, `one_by_one` says. The key names all settings that decide the value.
        """
        value = self.found.pop(key) if key in self.found else compute()
        if self.is_read_next:
            self.found[key] = value
        return value

    @property
    def mean(self) -> Tensor:
        """(g, n)"""
        assert self.total is not None
        return self.total / self.count

    def diagonal(self) -> Tensor:
        """(g, n): mean squares of the inputs."""
        if self.squares is not None:
            return self.squares
        if self.products is not None:
            return self.products.diagonal(dim1=1, dim2=2) / self.count
        return sum_of_squares(self.rows) / self.count

    def factor(self, group: int, *, centred: bool = False) -> Tensor | None:
        """(N, n) in float64 whose F' F is `second`, where the rows are held; None where their products are."""
        if self.is_multiplied or self.products is not None:
            return None
        rows = torch.cat([part[:, group] for part in self.held()[1]]).double()
        result: Tensor | None = (rows - rows.mean(0) if centred else rows) / self.count**0.5
        return result

    def second(self, group: int, *, centred: bool = False) -> Tensor:
        """(n, n): the mean of x x', or the covariance; a new tensor in float64."""
        factor = self.factor(group, centred=centred)
        if factor is not None:
            return factor.T @ factor
        products = self.held()[0]
        assert products is not None
        moment = products[group] / self.count
        mean = self.mean[group]
        return moment - torch.outer(mean, mean) if centred else moment

    def among(self, chosen: Tensor, *, centred: bool = False) -> Tensor:
        """(k, k): `second` of the chosen inputs of the first group alone, ascending; of others nothing is read."""
        if self.away is not None and self.is_multiplied:
            rows = self.away.chosen_rows(0, chosen)
        elif self.products is not None:
            rows = self.products[0][chosen]
        else:
            return self.second(0, centred=centred)[chosen][:, chosen]
        moment = rows.index_select(1, chosen).div_(self.count)
        mean = self.mean[0][chosen]
        return moment - torch.outer(mean, mean) if centred else moment

    def through(self, weight: Tensor, *, centred: bool = False) -> Tensor:
        """(m, m) of a weight (m, n) in float64: W C W', C as `second` has it of the first group; copies no C."""
        products = self.held()[0]
        assert products is not None
        moment = times_symmetric(weight, products[0]) / self.count
        mean = weight @ self.mean[0]
        return moment - torch.outer(mean, mean) if centred else moment


def one_by_one(grams: Mapping[str, Gram], names: Iterable[str]) -> Iterator[str]:
    """The names of layers in turn, each time with word to its Gram matrix whether the next layer has the same one."""
    order = list(names)
    for name, after in zip(order, [*order[1:], ""], strict=True):
        gram = grams.get(name)
        if gram is not None:
            gram.is_read_next = grams.get(after) is gram
        yield name


def sum_of_squares(rows: Iterable[Tensor]) -> Tensor:
    """Over the rows (k, g, n) of all parts: (g, n) in float64."""
    return torch.stack([few.double().square().sum(0) for part in rows for few in part.split(SQUARED)]).sum(0)


def input_grams(network: nn.Module, task: Task, section: str = "all") -> Mapping[str, Gram]:
    """Layer -> the Gram matrix of its inputs over the calibration data, a convolution's from its unfolded patches.

    Of all layers of the section that a method may change and whose inputs are not too many; see `grams_of`.
    """
    names = tuple(
        s.name
        for s in task.shapes
        if section_holds(section, s) and s.weight_count and not too_wide(s) and not s.left_alone
    )
    head = task.anatomy.head if task.anatomy is not None else ""
    return grams_of(network, task, names, until="" if head in names else head)


def grams_of(network: nn.Module, task: Task, names: Iterable[str], *, until: str = "") -> Mapping[str, Gram]:
    """Module -> the Gram matrix of what it is given over the calibration data; of vectors (…, n) or, a layer, patches.

    One pass of the dense network for all modules that no method has asked for yet, kept for every method; it ends
    before the module `until`, where one is named. Layers that read the same tensor in the same way share one. Raises
    `NotApplicable` without calibration data, or where a module is not called or its inputs are not finite. Those of a
    large network wait on a shelf, and are taken block by block, so that a block's alone are held.
    """
    names = tuple(dict.fromkeys(names))
    if not samples.count(task.calibration):
        raise NotApplicable("it needs calibration samples, and the protocol gives none")
    new: dict[str, Gram] = {}

    def gram(place: int) -> Gram:
        if not new:
            new.update(_grams_of(network, task, names[place:], until))
        return new[names[place]]

    found = {name: task.once(("gram", name), partial(gram, place)) for place, name in enumerate(names)}
    for name, each in found.items():
        if not bool(torch.isfinite(each.diagonal()).all()):
            raise NotApplicable(f"the inputs of {name!r} over the calibration samples are not finite")
    return found


def _grams_of(network: nn.Module, task: Task, names: tuple[str, ...], until: str) -> dict[str, Gram]:
    shelf, until = shelf_of(task), "" if until in names else until
    try:
        collector = _collected(network, task, names, until, None if task.anatomy is None else shelf)
    except OutOfOrder:
        collector = _collected(network, task, names, until, None)
    if shelf is not None:
        collector.put_away(shelf)
    missing = [name for name in names if name not in collector.found]
    if missing:
        raise NotApplicable(f"the calibration samples never reach {missing[0]!r}")
    return collector.found


def _collected(network: nn.Module, task: Task, names: tuple[str, ...], until: str, shelf: Shelf | None) -> _Collector:
    """After one pass, block by block where there is a shelf; after two where layers share an input not always."""
    for shares in (True, False):
        collector = _Collector(network, task, shares)
        if shelf is None:
            with entered(network, names, collector.see):
                run_calibration(network, task, until=until)
        else:
            run_blocks(network, task, names, collector.see, partial(collector.put_away, shelf), until=until)
        if collector.is_consistent:
            break
    return collector


class _Collector:
    """Adds up inputs as layers are called; a layer that reads what another one reads takes over its Gram matrix."""

    def __init__(self, network: nn.Module, task: Task, shares: bool) -> None:
        self.layers, self.shapes = linear_and_conv_layers(network), shapes_by_name(task)
        self.sample_count, self.shares = samples.count(task.calibration), shares
        self.found: dict[str, Gram] = {}
        self.leader: dict[str, str] = {}  # layer -> the one whose Gram matrix it has
        self.seen: dict[str, tuple[weakref.ref[Tensor], int]] = {}  # leader -> its newest input
        self.is_consistent = True

    def see(self, name: str, inputs: Tensor) -> None:
        """What `entered` calls."""
        if name not in self.leader:
            self.leader[name] = self._leader(name, inputs)
            self.found[name] = self.found.get(self.leader[name]) or Gram()
        if self.leader[name] != name:
            self.is_consistent &= self._reads(self.leader[name], inputs)
            return
        self.seen[name] = (weakref.ref(inputs), inputs._version)
        self.found[name].add(self._rows(name, inputs))

    def put_away(self, shelf: Shelf) -> None:
        """All that were added up by now onto the shelf; one that goes on takes its sums back."""
        for gram in self.found.values():
            gram.put_away(shelf)
        shelf.trim()

    def _leader(self, name: str, inputs: Tensor) -> str:
        if not self.shares or not self._is_called_once(name):
            return name
        alike = (other for other in self.seen if self._is_called_once(other) and self._alike(other, name))
        return next((other for other in alike if self._reads(other, inputs)), name)

    def _is_called_once(self, name: str) -> bool:
        """Whether it is known to be; of modules that are no layers it is not."""
        return name in self.shapes and name in self.layers and self.shapes[name].called == 1

    def _alike(self, name: str, other: str) -> bool:
        return _reading(self.layers[name]) == _reading(self.layers[other])

    def _reads(self, leader: str, inputs: Tensor) -> bool:
        seen, version = self.seen[leader]
        return seen() is inputs and version == inputs._version

    def _rows(self, name: str, inputs: Tensor) -> Tensor:
        shape = self.shapes.get(name)
        if shape is None or shape.kind != "conv2d":
            return channel_rows(inputs, nn.Linear)[:, None]
        chosen = chosen_positions(shape.positions, self.sample_count, seed=0)
        rows = patches(self.layers[name], inputs, chosen)
        return rows.reshape(len(rows), shape.groups, -1)


def _reading(layer: Layer) -> tuple[object, ...]:
    """How a layer reads its input: equal for layers that unfold it alike."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    facts = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    return (layer.in_channels, *facts)


def grouped_weight(layer: Layer) -> Tensor:
    """(g, m/g, n): the flattened weight, apart from autograd, in float32 or better; may share storage."""
    matrix = flattened(layer)
    return matrix if matrix.ndim == 3 else matrix[None]
