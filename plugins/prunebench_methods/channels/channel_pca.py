"""Designing widths and depth from the principal components of feature maps, then training the smaller network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ChannelPca(Method):
    """Each layer as wide as its feature maps have significant components; layers that add none are dropped.

    Garg, Panda and Roy, 2020. The maps are those before the activation (behind a batch norm), over all positions of the
    calibration images; the network so designed is trained once, from fresh weights, by the recipe of the dense one.
    Departs from the paper in that a layer is dropped only where its input passes through it unchanged in size, and in
    that all fresh weights are torch's default ones. For chains of layers; networks that branch are declined.
    """

    name = "channel_pca"
    paper = "https://arxiv.org/abs/1812.06224"
    stochastic = True
    trains = True
    example = {"variance": 0.9}

    variance: float = param(
        0.999, "share of a layer's variance that its significant components have", above=0, at_most=1
    )
    depth: bool = param(True, "drop layers with no more significant components than the one before")
    section: str = param("conv", "layers that become narrower", choices=SECTIONS)
    round_to: int = param(1, "widths are rounded up to a multiple of this", at_least=1)
    retrain: bool = param(True, "train the network; without, its fresh weights are returned as they are")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, narrower and fewer, trained from fresh weights."""
        from prunebench_methods.channels.channel_pca_math import Settings, redesigned

        network = redesigned(Settings(self.variance, self.depth, self.section, self.round_to), network, task)
        if self.retrain:
            task.fit(network, **task.train_recipe())
        return network.eval()
