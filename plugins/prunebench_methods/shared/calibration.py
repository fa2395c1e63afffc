"""What flows through a network that sees the calibration data: inputs of layers, moments, chains of modules."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from prunebench import Task, samples
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from collections.abc import Iterator

Stop = Callable[[Tensor], None]

BATCH = 128  # calibration samples in one forward pass
EPSILON = 1e-12  # share of the largest variance below which a direction is not there


class Reached(Exception):
    """Nothing after the watched layer matters."""


@dataclass
class Moments:
    """Sums over rows of vectors, in float64 on the vectors' device."""

    count: int
    total: Tensor  # (n,)
    products: Tensor  # (n, n)

    @classmethod
    def empty(cls, size: int, device: torch.device) -> Moments:
        """No rows yet."""
        zeros = torch.zeros(size, size + 1, dtype=torch.float64, device=device)
        return cls(0, zeros[:, 0].clone(), zeros[:, 1:].clone())

    def add(self, rows: Tensor) -> None:
        """Take in rows (k, n)."""
        rows = rows.double()
        self.count += len(rows)
        self.total += rows.sum(0)
        self.products.addmm_(rows.T, rows)

    @property
    def mean(self) -> Tensor:
        """(n,)"""
        return self.total / self.count

    def second(self, *, centred: bool = True) -> Tensor:
        """The covariance (n, n), or the uncentred second moment."""
        moment = self.products / self.count
        return moment - torch.outer(self.mean, self.mean) if centred else moment


@dataclass
class Inputs:
    """Vectors (n,) that a layer was given: held whole while they are fewer than they are wide, else as moments."""

    rows: list[Tensor] = field(default_factory=list)
    moments: Moments | None = None

    def add(self, rows: Tensor) -> None:
        """Take in rows (k, n)."""
        if self.moments is None and sum(map(len, self.rows)) + len(rows) > rows.shape[1]:
            self.moments = Moments.empty(rows.shape[1], rows.device)
            for earlier in self.rows:
                self.moments.add(earlier)
            self.rows = []
        if self.moments is None:
            self.rows.append(rows.clone())  # the network may go on in place
        else:
            self.moments.add(rows)

    @property
    def has_rows(self) -> bool:
        """Whether anything was taken in."""
        return bool(self.rows) or self.moments is not None

    @property
    def mean(self) -> Tensor:
        """(n,) in float64."""
        return self.moments.mean if self.moments else torch.cat(self.rows).double().mean(0)

    def factor(self, *, centred: bool = True) -> Tensor:
        """(q, n) in float64 whose F' F is the covariance, or the uncentred second moment; q is at most n."""
        result: Tensor
        if self.moments:
            variances, directions = torch.linalg.eigh(self.moments.second(centred=centred))
            result = (directions * variances.clamp_min(0).sqrt()).T
            return result
        rows = torch.cat(self.rows).double()
        result = (rows - rows.mean(0) if centred else rows) / len(rows) ** 0.5
        return result

    def components(self, *, centred: bool = True) -> tuple[Tensor, Tensor]:
        """Variances (k,), largest first, and their directions (n, k), for what varies at all."""
        if self.moments:
            variances, directions = torch.linalg.eigh(self.moments.second(centred=centred))
            return variances.flip(0).clamp_min(0), directions.flip(1)
        factor = self.factor(centred=centred)
        variances, left = torch.linalg.eigh(factor @ factor.T)
        seen = variances > EPSILON * variances[-1]
        directions = factor.T @ (left[:, seen] / variances[seen].sqrt())
        return variances[seen].flip(0), directions.flip(1)


def first_input(inputs: tuple[Tensor, ...], options: Mapping[str, Tensor]) -> Tensor:
    """What a layer was called with, by position or by keyword."""
    return inputs[0] if inputs else next(iter(options.values()))


@contextmanager
def watched(
    network: nn.Module, names: Iterable[str], see: Callable[[str, Tensor, Tensor], None], *, detached: bool = True
) -> Iterator[None]:
    """While it lasts, `see(name, input, output)` is called at each call of the modules with these names."""
    handles = []
    for name in names:

        def hook(
            module: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Tensor], output: Tensor, name: str = name
        ) -> None:
            x = first_input(inputs, options)
            see(name, *((x.detach(), output.detach()) if detached else (x, output)))

        handles.append(network.get_submodule(name).register_forward_hook(hook, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def entered(network: nn.Module, names: Iterable[str], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While it lasts, `see(name, input)` is called before each call of the modules with these names."""
    handles = []
    for name in names:

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Tensor], name: str = name) -> None:
            see(name, first_input(inputs, options))

        handles.append(network.get_submodule(name).register_forward_pre_hook(hook, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def run_calibration(network: nn.Module, task: Task, *, until: str = "") -> None:
    """One pass of the calibration data through the network, in batches, layer by layer.

    It ends before the module called `until`, where one is named: the head of a language model costs a fifth of a pass.
    """
    with ending_before(network, until), layer_by_layer():
        for inputs in batches_of(task):
            with contextlib.suppress(Reached):
                samples.call(network, inputs)


@contextmanager
def ending_before(network: nn.Module, name: str) -> Iterator[None]:
    """While it lasts, passes end before the module of this name; of "" nothing is changed."""

    def stop(module: nn.Module, inputs: object) -> None:
        raise Reached

    handle = network.get_submodule(name).register_forward_pre_hook(stop) if name else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Torch's own encoder layers call their parts, not one kernel that reads their weights."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def batches_of(task: Task, most: int = BATCH) -> Iterator[samples.Tree]:
    """The calibration data in batches: fewer samples in each where outputs are large."""
    return samples.batches(task.calibration, min(most, task.batch_size))


def channel_rows(values: Tensor, kind: type[nn.Module]) -> Tensor:
    """(rows, channels): the positions of a feature map (B, C, H, W), or the vectors of (B, ..., n)."""
    if issubclass(kind, nn.Conv2d):
        return values.transpose(0, 1).flatten(1).T
    return values.reshape(values.shape[:-1].numel(), values.shape[-1])


def layer_inputs(network: nn.Module, task: Task, names: Iterable[str]) -> dict[str, Inputs]:
    """Layer -> its input channels over the calibration data; one pass for all layers and a whole sweep."""
    names = tuple(names)
    return task.once(("inputs", names), lambda: _layer_inputs(network, task, names))


def _layer_inputs(network: nn.Module, task: Task, names: tuple[str, ...]) -> dict[str, Inputs]:
    found: dict[str, Inputs] = {}

    def see(name: str, value: Tensor, output: Tensor) -> None:
        found.setdefault(name, Inputs()).add(channel_rows(value, type(network.get_submodule(name))))

    with watched(network, names, see):
        run_calibration(network, task)
    return found


@torch.no_grad()
def input_of(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """What the layer called `name` is given for these images; the forward pass ends there."""
    return _until(
        network,
        name,
        images,
        lambda layer, stop: layer.register_forward_pre_hook(
            lambda _, x, options: stop(first_input(x, options)), with_kwargs=True
        ),
    )


@torch.no_grad()
def output_of(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """What the layer called `name` answers to these images; the forward pass ends there."""
    return _until(network, name, images, lambda layer, stop: layer.register_forward_hook(lambda _, x, y: stop(y)))


def _until(
    network: nn.Module, name: str, images: Tensor, attach: Callable[[nn.Module, Stop], RemovableHandle]
) -> Tensor:
    seen: list[Tensor] = []

    def stop(value: Tensor) -> None:
        seen.append(value)
        raise Reached

    handle = attach(network.get_submodule(name), stop)
    try:
        with contextlib.suppress(Reached):
            samples.call(network, images)
    finally:
        handle.remove()
    return seen[0]


@torch.no_grad()
def chain(network: nn.Module, task: Task) -> list[nn.Module] | None:
    """The leaf modules in the order of their calls, if calling them one after another is all that the network does."""
    called: list[nn.Module] = []
    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(lambda module, inputs, output: called.append(module)) for leaf in leaves]
    sample = samples.rows(task.calibration, slice(8))
    expected = samples.call(network, sample)
    for handle in handles:
        handle.remove()
    if not isinstance(sample, Tensor):
        return None
    try:
        replayed = sample
        for module in called:
            replayed = module(replayed)
    except (RuntimeError, TypeError, ValueError, IndexError):  # shapes that do not fit: no chain
        return None
    same = (
        isinstance(expected, Tensor)
        and replayed.shape == expected.shape
        and torch.allclose(replayed, expected, rtol=1e-4, atol=1e-6)
    )
    return called if same else None
