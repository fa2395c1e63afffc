"""What flows through a network that sees the calibration data: inputs of layers, moments, chains of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from prunebench import Task
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 128  # calibration samples in one forward pass


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


@contextmanager
def watched(network: nn.Module, names: Iterable[str], see: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """While it lasts, `see(name, input, output)` is called at each call of the modules with these names."""
    handles = []
    for name in names:

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            see(name, inputs[0].detach(), output.detach())

        handles.append(network.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def run_calibration(network: nn.Module, task: Task) -> None:
    """One pass of the calibration data through the network, in batches."""
    for images in task.calibration.split(BATCH):
        network(images)


def channel_rows(values: Tensor, kind: type[nn.Module]) -> Tensor:
    """(rows, channels): the positions of a feature map (B, C, H, W), or the vectors of (B, ..., n)."""
    if issubclass(kind, nn.Conv2d):
        return values.transpose(0, 1).flatten(1).T
    return values.reshape(-1, values.shape[-1])


def input_moments(network: nn.Module, task: Task, names: Iterable[str]) -> dict[str, Moments]:
    """Layer -> moments of its input channels over the calibration data; once for all layers and a whole sweep."""
    names = tuple(names)
    return task.once(("input moments", names), lambda: _input_moments(network, task, names))


def _input_moments(network: nn.Module, task: Task, names: tuple[str, ...]) -> dict[str, Moments]:
    found: dict[str, Moments] = {}

    def see(name: str, value: Tensor, output: Tensor) -> None:
        rows = channel_rows(value, type(network.get_submodule(name)))
        found.setdefault(name, Moments.empty(rows.shape[1], rows.device)).add(rows)

    with watched(network, names, see):
        run_calibration(network, task)
    return found


@torch.no_grad()
def chain(network: nn.Module, task: Task) -> list[nn.Module] | None:
    """The leaf modules in the order of their calls, if calling them one after another is all that the network does."""
    called: list[nn.Module] = []
    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(lambda module, inputs, output: called.append(module)) for leaf in leaves]
    sample = task.calibration[:8]
    expected = network(sample)
    for handle in handles:
        handle.remove()
    try:
        replayed = sample
        for module in called:
            replayed = module(replayed)
    except (RuntimeError, TypeError, ValueError, IndexError):  # shapes that do not fit: no chain
        return None
    same = replayed.shape == expected.shape and torch.allclose(replayed, expected, rtol=1e-4, atol=1e-6)
    return called if same else None
