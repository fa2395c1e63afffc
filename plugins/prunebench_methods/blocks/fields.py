"""What methods on parts of blocks have as settings in common."""

from __future__ import annotations

from prunebench import param

REFIT = "refit the layer that reads them, by least squares on calibration data"
RIDGE = "ridge of the refit, as a share of the mean of the Gram matrix's diagonal"
REPAIR = "let a bias of the layer that reads them answer the mean of what is left out"


def repair_param() -> bool:
    """Whether a bias answers means, as a field that a method gained."""
    found: bool = param(False, REPAIR, additive=True)
    return found
