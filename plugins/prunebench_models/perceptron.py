"""A multilayer perceptron for data of any shape: tables, and whatever can be flattened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Model, param

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Mlp(Model):
    """Flatten, then `depth` linear layers of `width` with ReLU, and one as wide as there are outputs.

    The first layer is as wide as the data set's samples are: it takes any.
    """

    name = "mlp"
    input_shape = None
    width: int = param(64, "outputs of each hidden layer", at_least=1)
    depth: int = param(2, "hidden layers", at_least=1)

    def build(self, outputs: int) -> nn.Module:
        """Linear layers `fc1`, `fc2`, …"""
        from prunebench_models.chains import lazy_chain

        return lazy_chain((self.width,) * self.depth, outputs)


MODELS: list[type[Model]] = [Mlp]
