"""How much a network stores and computes: counted, and as the plain numbers of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from prunebench import samples
from prunebench.anatomy.parts import Anatomy
from prunebench.measure import weights
from prunebench.measure.macs import Macs, counted_macs
from prunebench.measure.plain import is_layer, is_tied, read_outside, why_left_alone
from prunebench.measure.scores import evaluating
from prunebench.samples import Tree
from prunebench.shapes import LayerShape

Hook = Callable[[str, nn.Module, Tensor, Tensor], None]  # name, module, first input, output

CODE_TYPES = (torch.int8, torch.uint8)  # a codebook's codes stand for one weight each


@dataclass(frozen=True)
class Counts:
    """`mac_count` is for one sample, None where an operator is unknown."""

    parameter_count: int
    nonzero_parameter_count: int
    mac_count: int | None
    unknown_operators: tuple[str, ...] = ()  # such as "aten::_fft_r2c": what has no formula


def counts(network: nn.Module, example_input: Tree, dense: nn.Module | None = None) -> Counts:
    """What `network` stores and computes for one sample, the first of `example_input`; it is left as it was.

    Batch-norm statistics and other buffers are no parameters, and removing some of their entries makes them none.
    Buffers that `dense` does not have, or smaller, are: a method that keeps its factors in buffers (or its codes, as
    8-bit integers) has not made the network smaller by that.
    """
    held = [weights.values_of(value) for value in counted(network, dense).values()]
    nonzero = sum(int(torch.count_nonzero(value)) for value in held)
    cost = macs(network, example_input)
    return Counts(sum(value.numel() for value in held), nonzero, cost.of(), cost.unknown)


def counted(network: nn.Module, dense: nn.Module | None = None) -> dict[str, Tensor]:
    """The tensors whose entries count as parameters."""
    found = weights.parameters(network)
    if dense is None:
        return found
    known = {name: value.numel() for name, value in weights.buffers(dense).items()}
    for name, value in weights.buffers(network).items():
        holds_weights = value.is_floating_point() or value.is_complex() or value.dtype in CODE_TYPES
        if holds_weights and value.numel() > known.get(name, 0):
            found[name] = value
    return found


def block_counts(anatomy: Anatomy | None, network: nn.Module, dense: nn.Module) -> tuple[int, int] | None:
    """Parameters of the layers in the blocks of `network`, and those not zero; None where blocks are not known.

    `anatomy` is that of `dense`, from which `network` was made; blocks may have gone, and layers become several. Norms
    are left out, as embeddings and the head are: papers on language models say "ratio" of this count.
    """
    if anatomy is None or not anatomy.blocks:
        return None
    places = {block.name.rpartition(".")[0] for block in anatomy.blocks}
    norms = {norm.removeprefix(f"{block.name}.") for block in anatomy.blocks for norm in block.norms}
    tensors = counted(network, dense)
    held = [weights.values_of(tensors[name]) for name in tensors if _is_in_block(name, places, norms)]
    return sum(value.numel() for value in held), sum(int(torch.count_nonzero(value)) for value in held)


def _is_in_block(name: str, places: set[str], norms: set[str]) -> bool:
    """Whether the tensor belongs to a layer of a block, and to none of its norms."""
    for place in places:
        if name.startswith(f"{place}."):
            inside = name.removeprefix(f"{place}.").partition(".")[2]  # behind the block's number
            return not any(inside.startswith(f"{norm}.") for norm in norms)
    return False


def mac_count(network: nn.Module, example_input: Tree) -> int | None:
    """Multiply-accumulates for one sample, None where an operator has no formula; sums and norms are not counted."""
    return macs(network, example_input).of()


def macs_by_module(network: nn.Module, example_input: Tree) -> dict[str, int | None]:
    """Multiply-accumulates for one sample inside each module by its name in `named_modules()`, "" for the whole.

    Modules that compute nothing are left out; None stands where an operator in the module has no formula.
    """
    found = macs(network, example_input)
    return {name: found.of(name) for name in {"", *found.by_module, *found.unknown_by_module}}


def macs(network: nn.Module, example_input: Tree) -> Macs:
    """What one sample costs in each module, with the operators that nobody can count."""
    return counted_macs(network, lambda: run(network, example_input))


def counting_notes(network: nn.Module, found: Counts, example_input: Tree) -> list[str]:
    """What a reader of `mac_count` must know: operators without a formula, the length of a sequence."""
    if found.unknown_operators:
        return [f"mac_count is unknown: there is no formula for {', '.join(found.unknown_operators)}"]
    tensors = samples.leaves(example_input)
    is_read_in_steps = any(isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) for module in network.modules())
    if found.mac_count is None or not (is_read_in_steps or any(map(_is_sequence, tensors))):
        return []
    return [f"mac_count is for one {' and '.join(dict.fromkeys(map(_length, tensors)))}"]


def _is_sequence(x: Tensor) -> bool:
    """Tokens (B, L), or vectors one after another (B, L, E)."""
    return x.ndim == 3 or (x.ndim == 2 and not x.is_floating_point())


def _length(x: Tensor) -> str:
    if x.ndim == 2 and not x.is_floating_point():
        return f"sequence of {x.shape[1]} tokens"
    return f"input of {'×'.join(map(str, x.shape[1:]))}"


def run(network: nn.Module, example_input: Tree) -> None:
    """One sample through the network in evaluation mode, without gradients."""
    with evaluating(network), torch.no_grad():
        samples.call(network, samples.rows(example_input, slice(1)))


@contextmanager
def _hooked(network: nn.Module, chosen: Callable[[nn.Module], bool], hook: Hook) -> Iterator[None]:
    def attach(name: str, module: nn.Module) -> RemovableHandle:
        def seen(m: nn.Module, args: tuple[Tensor, ...], options: dict[str, Tensor], output: Tensor) -> None:
            hook(name, m, first_input(args, options), output)

        return module.register_forward_hook(seen, with_kwargs=True)

    handles = [attach(name, module) for name, module in network.named_modules() if chosen(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def first_input(args: tuple[Any, ...], options: Mapping[str, Any]) -> Tensor:
    """What a layer was called with, by position or by keyword."""
    found: Tensor = args[0] if args else next(iter(options.values()))
    return found


def layer_shapes(network: nn.Module, example_input: Tree) -> tuple[LayerShape, ...]:
    """The linear layers and 2-D convolutions that one sample passes, in the order in which it first passes them."""
    calls: dict[str, list[tuple[torch.Size, torch.Size]]] = {}

    def note(name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
        calls.setdefault(name, []).append((x.shape, y.shape))

    with _hooked(network, is_layer, note):
        run(network, example_input)
    modules, reasons, tied = dict(network.named_modules()), why_left_alone(network), is_tied(network)
    plain = {name: modules[name] for name in calls if not reasons[name]}
    read = read_outside(plain, lambda: run(network, example_input))
    return tuple(
        replace(_shape(name, modules[name], made, tied[name]), left_alone=reasons[name], read_outside=name in read)
        for name, made in calls.items()
    )


def _shape(name: str, module: nn.Module, calls: list[tuple[torch.Size, torch.Size]], tied: bool) -> LayerShape:
    x, y = calls[0]
    if isinstance(module, nn.Linear):
        positions = sum(output.numel() for _, output in calls) // max(1, module.out_features)
        sizes = (module.out_features, module.in_features)
        has_bias = module.bias is not None
        return LayerShape(name, "linear", *sizes, bias=has_bias, positions=positions, called=len(calls), tied=tied)
    assert isinstance(module, nn.Conv2d)
    once = len(calls) == 1
    return LayerShape(
        name,
        "conv2d",
        module.out_channels,
        module.in_channels,
        _pair(module.kernel_size),
        _pair(module.stride),
        _pair(module.dilation),
        module.groups,
        module.bias is not None,
        sum(output.numel() for _, output in calls) // max(1, module.out_channels),
        len(calls),
        tied,
        _pair(x[-2:]) if once else None,
        _pair(y[-2:]) if once else None,
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return (int(values[0]), int(values[1]))
