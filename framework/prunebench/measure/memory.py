"""The most memory that one forward pass needs, and how much of a card's memory is to be had."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunebench import samples
from prunebench.measure import weights
from prunebench.measure.scores import evaluating
from prunebench.samples import Tree


def peak_memory_bytes(network: nn.Module, example_input: Tree, device: torch.device | str) -> int:
    """Weights and the most bytes of activations alive at once in one forward pass of `example_input`.

    On CUDA it is what the allocator handed out at most, workspaces of kernels included; elsewhere the tensors that
    exist between operators are added up, so that scratch space inside one operator is not seen.
    """
    with evaluating(network), torch.no_grad():
        if torch.device(device).type == "cuda":
            return _cuda_peak(network, example_input, torch.device(device))
        with _Alive(example_input) as alive:
            samples.call(network, example_input)
    held = sum(weights.byte_count(tensor) for tensor in weights.stored(network).values())
    return held + int(alive.peak)


def _cuda_peak(network: nn.Module, example_input: Tree, device: torch.device) -> int:
    held = sum(weights.byte_count(tensor) for tensor in weights.stored(network).values())
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    samples.call(network, example_input)
    torch.cuda.synchronize(device)
    inputs = samples.byte_count(example_input)
    return held + inputs + int(torch.cuda.max_memory_allocated(device)) - before


class _Alive(TorchDispatchMode):
    """Follows every storage that an operator returns until it is freed."""

    def __init__(self, example_input: Tree) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = samples.byte_count(example_input)
        self.peak = self.now
        self.known: set[int] = {leaf.untyped_storage()._cdata for leaf in samples.leaves(example_input)}
        self.watched: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.known.update(s._cdata for s in _storages((args, kwargs)) if s._cdata not in self.watched)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in self.known and storage._cdata not in self.watched:
                self._watch(storage)
        self.peak = max(self.peak, self.now)
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self.now += size

        def freed(_: Any) -> None:
            del self.watched[key]
            self.now -= size

        self.watched[key] = weakref.ref(storage, freed)


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    leaves = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
    return [leaf.untyped_storage() for leaf in leaves if leaf.layout == torch.strided]


def free_and_total_bytes(device: torch.device) -> tuple[int, int]:
    """What this process could still allocate on a CUDA device, its allocator's own reserve included, and all there is.

    Raises RuntimeError where the card does not answer, or has not even room for a context.
    """
    free, total = torch.cuda.mem_get_info(device)
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + reserve, total
