"""Giving a network its weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def load_weights(network: nn.Module, weights: Mapping[str, Any], *, strict: bool = True) -> None:
    """As `network.load_state_dict(weights, strict)` for weights that files hand on without versions of modules.

    Versions are then those of the code: a module that tells its own formats apart by them would refuse to load.
    """
    state = OrderedDict(weights)
    versions = getattr(weights, "_metadata", None) or network.state_dict()._metadata  # type: ignore[attr-defined]
    state._metadata = versions  # type: ignore[attr-defined]
    network.load_state_dict(state, strict=strict)
