"""The methods that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Method, hookimpl

from prunebench_methods import factorized, masks_and_bits, structured


@hookimpl
def methods() -> list[type[Method]]:
    """Factorizations, tensor decompositions and channel methods, masks and bits."""
    return [*factorized.METHODS, *structured.METHODS, *masks_and_bits.METHODS]
