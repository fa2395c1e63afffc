"""Finding the layers of a network that a method may change, and putting others in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from prunebench import LayerShape, NotApplicable, Task
from torch import nn

Layer = nn.Linear | nn.Conv2d
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def linear_and_conv_layers(network: nn.Module) -> dict[str, Layer]:
    """Name -> every linear layer and 2-D convolution, each module once; transposed convolutions are not among them."""
    return {name: module for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}


def refuse_if_unusable(name: str, layer: Layer) -> str:
    """Why no method can read this layer's numbers, or an empty string."""
    for part, values in (("weight", layer.weight), ("bias", layer.bias)):
        if values is None:
            continue
        if not values.dtype.is_floating_point:
            return f"the {part} of layer {name!r} is {values.dtype}, not floating point"
        if not bool(torch.isfinite(values.sum())) and not bool(torch.isfinite(values).all()):  # a sum is quick, and
            # finite only where all of it is
            return f"the {part} of layer {name!r} holds values that are not finite"
    return ""


def select_layers(network: nn.Module, task: Task, reasons: Mapping[str, str]) -> dict[str, Layer]:
    """The layers without a reason to be left alone (`selection.refusals`), in order of execution.

    Those left alone are recorded with the reason. Raises `NotApplicable` when nothing remains, or when a selected
    layer's weights cannot be used.
    """
    layers = linear_and_conv_layers(network)
    chosen = {name: layers[name] for name, why in reasons.items() if not why}
    for name, layer in chosen.items():
        if why := refuse_if_unusable(name, layer):
            raise NotApplicable(why)
    for name, why in reasons.items():
        if why:
            task.layer(name, left_alone=why)
    if not chosen:
        raise NotApplicable(nothing_left(reasons))
    return chosen


def emptied(layers: dict[str, Layer]) -> Iterator[tuple[str, Layer]]:
    """Each name and layer in turn, taken out: what is replaced meanwhile is nobody's any more, and its memory free."""
    for name in list(layers):
        yield name, layers.pop(name)


def select_convolutions(network: nn.Module, task: Task, reasons: Mapping[str, str]) -> dict[str, nn.Conv2d]:
    """`select_layers` where the reasons leave every linear layer alone."""
    chosen = select_layers(network, task, reasons)
    return {name: layer for name, layer in chosen.items() if isinstance(layer, nn.Conv2d)}


def nothing_left(reasons: Mapping[str, str]) -> str:
    """One line that says why every layer was left alone: each different reason with the first layer it holds for."""
    if not reasons:
        return "the network has no linear or convolutional layer"
    first = {why: name for name, why in reversed(list(reasons.items()))}
    return "no layer to change: " + "; ".join(f"{name}: {why}" for why, name in reversed(first.items()))


def shapes_by_name(task: Task) -> dict[str, LayerShape]:
    """The task's layer shapes under their names."""
    return {shape.name: shape for shape in task.shapes}


def replace_module(network: nn.Module, name: str, new: nn.Module) -> nn.Module:
    """The network with `new` wherever the module called `name` stood; `new` itself for the network's own name, "".

    The new module takes over training mode and the old one's hooks.
    """
    return Places(network).put(name, new)


class Places:
    """Where the modules of a network stand, looked up once: a layer that is replaced at once leaves no second copy."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._parents: dict[int, list[tuple[nn.Module, str]]] = {}
        for parent in network.modules():
            for child_name, child in parent._modules.items():  # named_children() lists a shared child once
                self._parents.setdefault(id(child), []).append((parent, child_name))

    def put(self, name: str, new: nn.Module) -> nn.Module:
        """As `replace_module`; no name may lie inside another that was put."""
        old = self.network.get_submodule(name)
        new.train(old.training)
        for hooks in HOOKS:
            getattr(new, hooks).update(getattr(old, hooks))
        if not name:
            self.network = new
        for parent, child_name in self._parents.pop(id(old), ()):
            setattr(parent, child_name, new)
        return self.network
