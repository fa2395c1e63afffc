"""Removing channels whose work the others can do, without retraining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

from prunebench_methods.shared.selection import require_one

if TYPE_CHECKING:
    from torch import nn

CHOICES = ("auto", "pivots", "responses")
GREEDY_WIDTH = 1024  # channels up to which "auto" chooses greedily: the time grows with their third power


@dataclass(frozen=True)
class InterpolativeChannels(Method):
    """Keeps the channels that best represent all of a layer's, and folds the rest into the layers that read them.

    Chee, Renz, Damle and De Sa, 2022. Departs from it in two ways. Channels that residual additions or concatenations
    share are chosen for all their readers at once. And every layer is refitted, first to last, from what it now
    receives to what the dense one answered (`refit`): the fit is regularised towards the folded weights, with a
    strength chosen on a held-out quarter of the images. `choose`: "pivots" of a Cholesky factorization, as in the paper
    but weighted by the readers' weights, or the channels that explain most of the readers' "responses", one by one.
    No layer is added and no label is seen; the network has the same modules, narrower. `joint_steps` changes all
    layers together, so that the kept channels carry more; a layer by itself can only compensate for what they lost. It
    takes far longer: leave it at 0 if you consider any gradient steps retraining. Where only some positions of the
    images are looked at, they are the same for every seed. The paper gives all layers one error. Here they have one
    share of channels ("uniform"), or one budget, spent where a channel is missed most for its cost ("global").
    """

    name = "interpolative_channels"
    paper = "https://arxiv.org/abs/2108.00065"
    loosest = {"keep": 1.0}
    example = {"keep": 0.5}

    keep: float | None = param(None, "share of the channels that each layer keeps, rounded up", above=0, at_most=1)
    theoretical_speedup: float | None = param(None, "dense over remaining multiply-accumulates, at least", at_least=1)
    compression: float | None = param(None, "dense over remaining parameters, at least", at_least=1)
    allocation: str = param(
        "auto",
        "uniform: the same share of channels in all layers; global: one budget, shared by what the readers miss; auto: "
        "uniform for a share; for a target the one that misses less of the outputs' variance on validation pictures "
        "where uniform misses more than 1 %, otherwise uniform",
        choices=("auto", "uniform", "global"),
    )
    round_to: int = param(1, "channel counts are rounded up to a multiple of this", at_least=1)
    choose: str = param(
        "auto", f"how channels are chosen; auto: responses up to {GREEDY_WIDTH} channels", choices=CHOICES
    )
    refit: bool = param(True, "refit each layer on the inputs that the narrowed ones before it produce")
    shared: bool = param(True, "also remove channels that several layers write or read, as around residual additions")
    joint_steps: int = param(
        0,
        "steps of L-BFGS that then change all layers together, so that the outputs and what layers answer come nearer "
        "to the dense network's on the calibration images, at most; without labels",
        at_least=0,
    )
    images: int = param(1024, "calibration images that are looked at, at most", at_least=1)

    def check(self) -> None:
        """Exactly one budget."""
        require_one(keep=self.keep, theoretical_speedup=self.theoretical_speedup, compression=self.compression)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, narrower; layers whose outputs must stay are recorded with the reason."""
        from prunebench_methods.channels.interpolative_prune import Settings, remove_channels

        settings = Settings(
            keep=self.keep,
            target=self._target(),
            allocations=self._allocations(),
            round_to=self.round_to,
            choose=self.choose,
            greedy_width={"auto": GREEDY_WIDTH, "responses": math.inf, "pivots": 0}[self.choose],
            refit=self.refit,
            shared=self.shared,
            joint_steps=self.joint_steps,
            images=self.images,
        )
        return remove_channels(settings, network, task)

    def _allocations(self) -> tuple[str, ...]:
        """Those to be tried, the fastest first."""
        if self.allocation != "auto":
            return (self.allocation,)
        return ("uniform",) if self.keep is not None else ("uniform", "global")

    def _target(self) -> tuple[str, float]:
        """Name and value of the budget that is given instead of a share; a share comes to none."""
        if self.compression is not None:
            return "compression", self.compression
        return "theoretical_speedup", self.theoretical_speedup or 1.0
