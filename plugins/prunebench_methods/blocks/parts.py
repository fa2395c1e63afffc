"""Reading and writing the parts that an anatomy names, and the statistics of what flows into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prunebench import Anatomy, NotApplicable, Part, Task
from torch import Tensor, nn

from prunebench_methods.shared.grams import Gram, grams_of


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


def rewrite_reader(network: nn.Module, part: Part, chosen: Tensor, fit: Tensor | None, mean: Tensor | None) -> None:
    """Let the part read the chosen k inputs alone: as it did, or by the refitted weight (m, k).

    With the inputs' mean (n,) its bias answers what the change takes from the mean response.
    """
    whole = matrix(network, part)
    narrower = whole[:, chosen] if fit is None else fit.to(whole)
    own = bias(network, part)
    if mean is not None:
        change = whole.double() @ mean - narrower.double() @ mean[chosen]
        own = change.to(whole.dtype) if own is None else own + change.to(whole.dtype)
        if not part.bias and not isinstance(network.get_submodule(part.module), nn.Linear):
            raise NotApplicable(f"{part.module} has no bias that could answer the mean of what is left out")
        part = replace(part, bias=part.bias or "bias")
    rewrite(network, part, narrower, own)


def grams_of_parts(network: nn.Module, task: Task, parts: Mapping[str, Part], head: str) -> dict[str, Gram]:
    """By name: the Gram matrix of what a part reads; the head is not computed."""
    grams = grams_of(network, task, (part.module for part in parts.values()), until=head)
    return {name: grams[part.module] for name, part in parts.items()}
