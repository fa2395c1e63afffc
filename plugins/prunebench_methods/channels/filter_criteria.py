"""Removing whole filters by a number of each: its norm, its batch norm's scale, its distance to the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

if TYPE_CHECKING:
    from torch import nn

CRITERIA = ("l1", "l2", "bn_scale", "geometric_median")
SHARE = "share of the channels that each group of layers keeps, rounded up"
SHARED = "also remove channels that several layers write or read, as around residual additions"


@dataclass(frozen=True)
class FilterCriteria(Method):
    """Removes the filters that a criterion ranks lowest; what reads them loses the columns, and nothing is refitted.

    `l1` is Li et al. (2017), `l2` He et al. (2018), `bn_scale` Liu et al. (2017) without the training that makes scales
    sparse, `geometric_median` He et al. (2019): filters nearest to all others of their layer go. Where several layers
    write the same channels, as around a residual addition, their numbers are added. All groups keep the same share;
    Liu's ranking over all layers at once is not among the settings.
    """

    name = "filter_criteria"
    paper = "https://arxiv.org/abs/1608.08710"
    loosest = {"keep": 1.0}

    keep: float = param(0.5, SHARE, above=0, at_most=1)
    criterion: str = param("l1", "what filters are ranked by", choices=CRITERIA)
    round_to: int = param(1, "channel counts are rounded up to a multiple of this", at_least=1)
    shared: bool = param(True, SHARED)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, narrower."""
        from prunebench_methods.channels.filter_removal import Removal, without_lowest

        return without_lowest(network, task, Removal(self.keep, self.criterion, self.round_to, self.shared))


@dataclass(frozen=True)
class RandomFilters(Method):
    """Removes filters drawn at random, as many as `filter_criteria` would: what any criterion has to beat."""

    name = "random_filters"
    paper = "https://arxiv.org/abs/1801.10447"
    stochastic = True
    control = True
    loosest = {"keep": 1.0}

    keep: float = param(0.5, SHARE, above=0, at_most=1)
    round_to: int = param(1, "channel counts are rounded up to a multiple of this", at_least=1)
    shared: bool = param(True, SHARED)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, narrower."""
        from prunebench_methods.channels.filter_removal import Removal, without_lowest

        return without_lowest(network, task, Removal(self.keep, "random", self.round_to, self.shared))


@dataclass(frozen=True)
class SoftFilters(Method):
    """Filters of least norm are set to zero again and again during fine-tuning but may grow back; the last go for good.

    Soft filter pruning (He, Kang, Dong, Fu and Yang, 2018) from the trained network; the paper zeroes once per epoch.
    Layers that share channels are ranked together, where the paper leaves those around residual additions alone.
    """

    name = "soft_filters"
    paper = "https://arxiv.org/abs/1808.06866"
    trains = True
    example = {"steps": 8, "every": 2}

    keep: float = param(0.5, SHARE, above=0, at_most=1)
    steps: int = param(1000, "optimizer steps of fine-tuning, the fine-tuning recipe's in all else", at_least=1)
    every: int = param(100, "steps between two times that filters are zeroed", at_least=1)
    round_to: int = param(1, "channel counts are rounded up to a multiple of this", at_least=1)
    shared: bool = param(True, SHARED)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, narrower, after their training."""
        from prunebench_methods.channels.filter_removal import Removal, softly_without_lowest

        removal = Removal(self.keep, "l2", self.round_to, self.shared)
        return softly_without_lowest(network, task, removal, self.steps, self.every)
