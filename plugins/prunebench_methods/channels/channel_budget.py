"""How many channels each group keeps: the same share of all, or one budget that the groups share.

A width is a number of channels that a group keeps; `widths` holds one for each group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prunebench import LayerShape
from torch import nn

from prunebench_methods.channels.channel_graph import Group

BISECTIONS = 40
STEPS = 32  # in which a group goes from all of its channels to the least, at most


@dataclass
class _Part:
    """What one module costs: `pair` for each input with each output, `single` for each output."""

    pair: float
    single: float
    inputs: int
    outputs: int

    def cost(self, fewer_inputs: int = 0, fewer_outputs: int = 0) -> float:
        return (self.pair * (self.inputs - fewer_inputs) + self.single) * (self.outputs - fewer_outputs)


@dataclass
class ChannelCosts:
    """Multiply-accumulates or parameters of a network whose groups are as wide as `widths` says."""

    widths: list[int]
    spent: float
    parts: dict[str, _Part] = field(default_factory=dict)
    touched: list[dict[str, tuple[int, int]]] = field(default_factory=list)  # module -> inputs, outputs a channel

    def saved(self, group: int, width: int) -> float:
        """What narrowing one group to `width` would save; negative where it becomes wider."""
        fewer = self.widths[group] - width
        return sum(
            self.parts[name].cost() - self.parts[name].cost(fewer * inputs, fewer * outputs)
            for name, (inputs, outputs) in self.touched[group].items()
        )

    def at(self, widths: Sequence[int]) -> float:
        """What the network would cost at these widths."""
        before = list(self.widths)
        self._resize_all(widths)
        spent = self.spent
        self._resize_all(before)
        return spent

    def _resize_all(self, widths: Sequence[int]) -> None:
        for group, width in enumerate(widths):
            self.resize(group, width)

    def resize(self, group: int, width: int) -> None:
        """The group has this width from now on."""
        self.spent -= self.saved(group, width)
        fewer = self.widths[group] - width
        for name, (inputs, outputs) in self.touched[group].items():
            self.parts[name].inputs -= fewer * inputs
            self.parts[name].outputs -= fewer * outputs
        self.widths[group] = width


def channel_costs(
    network: nn.Module, groups: Sequence[Group], shapes: Sequence[LayerShape], *, parameters: bool
) -> ChannelCosts:
    """The costs of the network as it is, all groups at full width: parameters, or else multiply-accumulates."""
    positions = {shape.name: shape.positions for shape in shapes}
    if parameters:
        spent = sum(parameter.numel() for parameter in network.parameters())
    else:
        spent = sum(shape.mac_count for shape in shapes)
    costs = ChannelCosts([group.width for group in groups], spent)
    for group in groups:
        touched: dict[str, tuple[int, int]] = {}
        ends = [*((slot.module, slot.repeat, 0) for slot in group.readers)]
        ends += [*((name, 0, 1) for name in group.writers), *((slot.module, 0, slot.repeat) for slot in group.scalers)]
        for name, inputs, outputs in ends:
            before = touched.get(name, (0, 0))
            touched[name] = (before[0] + inputs, before[1] + outputs)
        costs.touched.append(touched)
        for name in touched:
            costs.parts[name] = _part(network.get_submodule(name), None if parameters else positions.get(name, 0))
    return costs


def _part(module: nn.Module, positions: int | None) -> _Part:
    """Of multiply-accumulates at so many positions, or without them of parameters."""
    if isinstance(module, nn.Linear):
        inputs, outputs, is_mixing = module.in_features, module.out_features, True
    elif isinstance(module, nn.Conv2d):
        inputs, outputs, is_mixing = module.in_channels, module.out_channels, module.groups == 1
    else:
        values = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        outputs = int(module.num_features)  # type: ignore[arg-type]
        return _Part(0.0, values / outputs if positions is None else 0.0, 0, outputs)
    each = module.weight[0].numel() * (1 if positions is None else positions)
    bias = 1 if positions is None and module.bias is not None else 0
    return _Part(each / inputs, bias, inputs, outputs) if is_mixing else _Part(0.0, each + bias, inputs, outputs)


def uniform_widths(width_at: Callable[[float, int], int], costs: ChannelCosts, budget: float) -> list[int]:
    """The widths at the largest share of the channels, the same for all groups, that stays within `budget`.

    `width_at` says how wide a group of so many channels is at a share.
    """

    def widths(share: float) -> list[int]:
        return [width_at(share, channels) for channels in costs.widths]

    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if costs.at(widths(middle)) <= budget else (low, middle)
    return widths(1.0 if costs.at(widths(1.0)) <= budget else low)


def shared_widths(missing: Sequence[Sequence[float]], costs: ChannelCosts, budget: float, round_to: int) -> list[int]:
    """The widths at which little is missing within `budget`: channels go first where they are missed least for a cost.

    `missing[g][k]` is what the readers of group g miss when it keeps k channels.
    """
    full = list(costs.widths)

    def narrower(group: int) -> int:
        step = round_to * max(1, full[group] // (STEPS * round_to))
        return max(min(round_to, full[group]), (costs.widths[group] - 1) // step * step)

    def price(group: int) -> float:
        width = narrower(group)
        return (missing[group][width] - missing[group][costs.widths[group]]) / max(costs.saved(group, width), 1e-9)

    while costs.spent > budget:
        shrinkable = [group for group, width in enumerate(costs.widths) if narrower(group) < width]
        if not shrinkable:
            break
        group = min(shrinkable, key=price)
        costs.resize(group, narrower(group))
    _give_back(missing, costs, budget, round_to, full)
    return list(costs.widths)


def _give_back(
    missing: Sequence[Sequence[float]], costs: ChannelCosts, budget: float, round_to: int, full: Sequence[int]
) -> None:
    """Spends what the last step left over, where it is worth most."""

    def wider(group: int) -> int:
        return min(full[group], (costs.widths[group] // round_to + 1) * round_to)

    def fits(group: int) -> bool:
        return costs.spent - costs.saved(group, wider(group)) <= budget

    def worth(group: int) -> float:
        gain = missing[group][costs.widths[group]] - missing[group][wider(group)]
        return gain / max(-costs.saved(group, wider(group)), 1e-9)

    while growing := [g for g, width in enumerate(costs.widths) if width < full[g] and fits(g)]:
        group = max(growing, key=worth)
        costs.resize(group, wider(group))
