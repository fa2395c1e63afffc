"""Reading and writing the parts that an anatomy names, and watching what flows into them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from prunebench import Anatomy, NotApplicable, Part, Task, samples
from torch import Tensor, nn

Watcher = Callable[[Tensor], None]


class _Enough(Exception):
    """What the hooks wanted has been seen: the rest of the forward pass is left out."""


def known_anatomy(task: Task) -> Anatomy:
    """The anatomy; raises `NotApplicable` where the network's blocks are not known."""
    if task.anatomy is None:
        raise NotApplicable("it acts on transformer blocks, and the anatomy of this network is not known")
    return task.anatomy


def matrix(network: nn.Module, part: Part) -> Tensor:
    """The part's weight (out, in), all of it."""
    weight: Tensor = getattr(network.get_submodule(part.module), part.weight).detach()
    return weight.T if part.transposed else weight


def bias(network: nn.Module, part: Part) -> Tensor | None:
    """The part's bias (out,)."""
    found: Tensor | None = getattr(network.get_submodule(part.module), part.bias).detach() if part.bias else None
    return found


def rewrite(network: nn.Module, part: Part, weight: Tensor, new_bias: Tensor | None) -> None:
    """Give a part that has a module to itself another weight (out, in) and bias, of any shape."""
    module: Any = network.get_submodule(part.module)
    stored = (weight.T if part.transposed else weight).contiguous()
    setattr(module, part.weight, nn.Parameter(stored))
    if part.bias and new_bias is not None:
        setattr(module, part.bias, nn.Parameter(new_bias.contiguous().clone()))
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif hasattr(module, "nf"):  # transformers' Conv1D
        module.nf, module.nx = weight.shape


def calibrate(network: nn.Module, task: Task, watchers: dict[str, Watcher], head: str = "") -> None:
    """The calibration data through the network once; each watcher is handed its module's inputs (…, n).

    The head, where one is named, is not computed. Raises `NotApplicable` for a module that the network does not call.
    """
    seen: set[str] = set()

    def hook(name: str, watch: Watcher) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, args: Any, kwargs: Any) -> None:
            seen.add(name)
            watch(args[0] if args else next(iter(kwargs.values())))

        return note

    handles = [
        network.get_submodule(name).register_forward_pre_hook(hook(name, watch), with_kwargs=True)
        for name, watch in watchers.items()
    ]
    if head:
        handles.append(network.get_submodule(head).register_forward_pre_hook(_stop))
    try:
        _run(network, task)
    finally:
        for handle in handles:
            handle.remove()
    missed = [name for name in watchers if name not in seen]
    if missed:
        raise NotApplicable(f"the network does not call {missed[0]} as a layer")


def _stop(module: nn.Module, args: Any) -> None:
    raise _Enough


def _run(network: nn.Module, task: Task) -> None:
    count, size = samples.count(task.calibration), task.batch_size
    with torch.no_grad(), _layer_by_layer():
        for start in range(0, count, size):
            with contextlib.suppress(_Enough):
                samples.call(network, samples.rows(task.calibration, slice(start, start + size)))


@contextlib.contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Torch's own encoder layers call their parts, not one kernel that reads their weights."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
