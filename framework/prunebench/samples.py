"""Samples as any tree of tensors: one tensor, or tuples, lists and mappings of them, of any types and shapes.

The first dimension of every leaf counts samples. A tensor is a tree of one leaf, so images need none of this; a model
of several inputs, or of keyword inputs, is handed a tuple or a mapping and everything else stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Tree = Any  # a Tensor, or a tuple, list or mapping of trees


def mapped(change: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """The tree with `change` applied to each tensor; other leaves (None, flags) stay as they are."""
    import torch
    from torch.utils import _pytree

    if isinstance(tree, torch.Tensor):
        return change(tree)
    return _pytree.tree_map(lambda leaf: change(leaf) if isinstance(leaf, torch.Tensor) else leaf, tree)


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of the tree, in its order."""
    import torch
    from torch.utils import _pytree

    if isinstance(tree, torch.Tensor):
        return [tree]
    return [leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def count(tree: Tree) -> int:
    """Samples of the tree; raises ValueError where its tensors do not agree, or there is none."""
    sizes = {len(leaf) if leaf.ndim else -1 for leaf in leaves(tree)}
    if len(sizes) != 1 or -1 in sizes:
        raise ValueError(f"the tensors of a tree of samples must agree in their first dimension, got {shapes(tree)}")
    return sizes.pop()


def rows(tree: Tree, chosen: Any) -> Tree:
    """The samples that `chosen` names: a slice, or a tensor of indices, which is moved to each leaf's device."""
    import torch

    def pick(leaf: Tensor) -> Tensor:
        return leaf[chosen.to(leaf.device) if isinstance(chosen, torch.Tensor) else chosen]

    return mapped(pick, tree)


def are_images(tree: Tree) -> bool:
    """Whether the tree is one floating-point tensor with four dimensions: (B, C, H, W)."""
    import torch

    return isinstance(tree, torch.Tensor) and tree.ndim == 4 and tree.is_floating_point()


@dataclass(frozen=True)
class PixelRange:
    """The smallest and the largest value per channel: what maps normalised images to pixels in [0, 1] and back."""

    low: Tensor  # (C, 1, 1)
    high: Tensor

    @classmethod
    def of(cls, images: Tensor) -> PixelRange:
        """The range of these images (B, C, H, W)."""
        return cls(images.amin((0, 2, 3), keepdim=True)[0], images.amax((0, 2, 3), keepdim=True)[0])

    def scaled(self, change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Images (B, C, H, W), mapped to [0, 1] and clipped, handed to `change`, and mapped back to their own range."""
        import torch

        low, high = self.low.to(x), self.high.to(x)
        span = (high - low).clamp_min(torch.finfo(x.dtype).tiny)
        return change(((x - low) / span).clamp(0, 1)) * span + low


def batches(tree: Tree, size: int) -> Iterator[Tree]:
    """Slices of at most `size` samples, in order."""
    return (rows(tree, slice(start, start + size)) for start in range(0, count(tree), size))


def joined(trees: Sequence[Tree]) -> Tree:
    """Batches put one behind another."""
    import torch
    from torch.utils import _pytree

    if isinstance(trees[0], torch.Tensor):
        return torch.cat(list(trees))
    flat = [_pytree.tree_flatten(tree) for tree in trees]
    columns = zip(*(found for found, _ in flat), strict=True)
    whole = [torch.cat(column) if isinstance(column[0], torch.Tensor) else column[0] for column in columns]
    return _pytree.tree_unflatten(whole, flat[0][1])


def stacked(items: Sequence[Tree]) -> Tree:
    """One batch from single samples, whose leaves have no dimension for samples yet; numbers become tensors."""
    from torch.utils.data import default_collate

    return default_collate(list(items))


def moved(tree: Tree, device: torch.device | str, *, non_blocking: bool = False) -> Tree:
    """The tree on `device`; tensors that are there already are not copied."""
    return mapped(lambda leaf: leaf.to(device, non_blocking=non_blocking), tree)


def cast(tree: Tree, dtype: torch.dtype) -> Tree:
    """The tree with floating-point tensors in `dtype`; tokens, masks and indices keep their types."""
    return mapped(lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf, tree)


def byte_count(tree: Tree) -> int:
    """Bytes of all tensors."""
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(tree))


def call(network: nn.Module, inputs: Tree) -> Any:
    """What the network answers: a tensor is its argument, a tuple its arguments, a mapping its keywords."""
    if isinstance(inputs, Mapping):
        return network(**inputs)
    return network(*inputs) if isinstance(inputs, tuple | list) else network(inputs)


HOST_OUTPUT_BYTES = 64 << 20  # of one batch on the CPU, where larger batches are not faster


@dataclass(frozen=True)
class Footprint:
    """What one sample takes beside the network: found by a call on it, and the same for networks that answer alike."""

    inputs: str  # as `shapes` tells them
    input_bytes: int
    output_bytes: int
    is_on_host: bool  # whether the outputs lie in the memory of the CPU

    @classmethod
    def of(cls, network: nn.Module, example: Tree) -> Footprint:
        """Of the first sample of `example`, which the network is shown in the mode that it is in."""
        import torch

        first = rows(example, slice(1))
        with torch.no_grad():
            answer = call(network, first)
        is_on_host = all(leaf.device.type == "cpu" for leaf in leaves(answer))
        return cls(shapes(first), byte_count(first), byte_count(answer), is_on_host)

    def batch_size(self, most: int = 256, limit_bytes: int = 256 << 20) -> int:
        """As the function of this name says."""
        fitting = limit_bytes // max(1, self.input_bytes + self.output_bytes)
        if self.is_on_host:
            fitting = min(fitting, HOST_OUTPUT_BYTES // max(1, self.output_bytes))
        return max(1, min(most, fitting))


def batch_size(network: nn.Module, example: Tree, most: int = 256, limit_bytes: int = 256 << 20) -> int:
    """Samples in one forward pass, at most `most`, so that inputs and outputs together stay within `limit_bytes`.

    On the CPU outputs stay within a quarter of that. 256 windows of 512 tokens have 26 GB of logits at a vocabulary of
    49,152. The network is shown the first sample of `example`, in the mode that it is in.
    """
    return Footprint.of(network, example).batch_size(most, limit_bytes)


def shapes(tree: Tree) -> str:
    """For messages: `int64 (8, 64)`, or `{'ids': int64 (8, 64), 'mask': bool (8, 64)}`."""
    import torch

    if isinstance(tree, torch.Tensor):
        return f"{str(tree.dtype).removeprefix('torch.')} {tuple(tree.shape)}"
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{key!r}: {shapes(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(shapes(value) for value in tree) + ")"
    return type(tree).__name__
