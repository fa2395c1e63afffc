"""The methods that come with prunebench, through the same door as anyone else's: a folder for each family."""

from __future__ import annotations

from prunebench import Method, hookimpl

from prunebench_methods import blocks, channels, decompositions, low_rank, masks, quantization, tickets
from prunebench_methods.dense import Dense

FAMILIES = (low_rank, decompositions, channels, blocks, masks, tickets, quantization)


@hookimpl
def methods() -> list[type[Method]]:
    """The dense control, then every family's methods."""
    return [Dense, *(method for family in FAMILIES for method in family.METHODS)]
