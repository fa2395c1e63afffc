"""How many of n a share is, without the rounding of floating point."""

from __future__ import annotations

import math
from fractions import Fraction


def kept_count(keep: float, count: int) -> int:
    """`ceil(keep * count)` of the decimal number as it is written: 0.05 of 100 is 5, where floats may say 6."""
    return math.ceil(Fraction(repr(float(keep))) * count)
