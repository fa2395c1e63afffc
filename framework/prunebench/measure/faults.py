"""What makes a measurement void: the runner stores a failed row with the message as its reason."""

from __future__ import annotations


class InvalidOutput(ValueError):
    """A network whose output is no set of finite logits: a number computed from it would be wrong."""


class ChangedWeights(InvalidOutput):
    """A network whose forward pass changes its own weights: no two measurements of it are of the same network."""
