"""Where the share of a mask is kept: in every output row, in the layer, or N of every M inputs of a row.

In a grouped convolution "layer" means every group for itself. Inputs of a convolution are its unfolded ones, in the
order of its weight: channel by channel, each with its kernel's positions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from prunebench import LayerShape

from prunebench_methods.shared.exact import kept_count
from prunebench_methods.shared.selection import matrix_shape

PATTERN_DOC = 'the share is of every output "row", of the "layer", or N of every M inputs of a row, as "2:4"'
KEEP_DOC = "share of the weights that survive; not given where the pattern is n:m, which keeps n/m"
LARGEST_GROUP = 1024


@dataclass(frozen=True)
class Pattern:
    """A pattern and its share: `group` inputs of a row of which `kept` survive, or 0 for a share of rows or layers."""

    keep: float
    per_row: bool
    kept: int = 0
    group: int = 0

    @property
    def is_all(self) -> bool:
        """Whether every weight survives."""
        return self.keep == 1

    def survivors(self, shape: LayerShape) -> int:
        """How many of the layer's weights survive, exactly."""
        rows, columns = matrix_shape(shape)
        if self.group:
            return shape.out_channels * columns * self.kept // self.group
        if self.per_row:
            return shape.out_channels * kept_count(self.keep, columns)
        return shape.groups * kept_count(self.keep, rows * columns)

    def refusal(self, shape: LayerShape) -> str:
        """Why a layer cannot have the pattern, or an empty string."""
        columns = matrix_shape(shape)[1]
        if self.group and columns % self.group:
            return f"its {columns:,} inputs are no multiple of {self.group}, as {self.kept}:{self.group} needs"
        return ""


def pattern_of(pattern: str, keep: float | None) -> Pattern:
    """The pattern that the settings ask for; raises ValueError where they contradict one another."""
    if pattern in ("row", "layer"):
        if keep is None:
            raise ValueError(f'pattern "{pattern}" needs `keep`, the share of the weights that survive')
        return Pattern(keep, pattern == "row")
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    if not found:
        raise ValueError(f'pattern must be "row", "layer" or n:m such as "2:4", got "{pattern}"')
    kept, group = int(found[1]), int(found[2])
    if not 1 <= kept <= group <= LARGEST_GROUP:
        raise ValueError(f"pattern n:m needs 1 <= n <= m <= {LARGEST_GROUP}, got {pattern}")
    if keep is not None:
        raise ValueError(f"pattern {pattern} keeps {Fraction(kept, group)} of the weights: leave `keep` out")
    return Pattern(kept / group, True, kept, group)
