"""The best weights on another method's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, NotApplicable, PruneBenchError, Task, param

from prunebench_methods.masks.informed import DAMP_DOC
from prunebench_methods.masks.mask import masked, masked_counts, weight_refusals
from prunebench_methods.masks.patterns import KEEP_DOC, pattern_of
from prunebench_methods.shared.selection import SECTIONS, too_wide

if TYPE_CHECKING:
    from torch import nn

PATTERNED = ("wanda", "sparsegpt", "alps", "random_pattern")
BY_LAYER = ("magnitude", "random")


@dataclass(frozen=True)
class MaskedRefit(Method):
    """Least squares on the mask of another method: the survivors that answer the inputs most like the dense layer.

    With a mask fixed nothing of this form loses less on the calibration data: what a method gains by its weights and
    what by its choice of them can be told apart. It draws at random where the other method does. Layers are fitted
    alone, on inputs of the dense network. Conjugate gradients stand in where exact solutions would take too long.
    """

    name = "masked_refit"
    paper = "https://arxiv.org/abs/2406.07831"
    knob = "keep"
    example = {"keep": 0.5}
    loosest = {"keep": 1.0}

    of: str = param("wanda", "the method whose mask is taken over")
    keep: float | None = param(None, KEEP_DOC, above=0, at_most=1)
    pattern: str = param("row", 'that method\'s `pattern`, where it has one: "row", "layer" or n:m')
    section: str = param("all", "that method's `section`, where it has one", choices=SECTIONS)
    damp: float = param(0.01, DAMP_DOC + ", towards the dense weights", at_least=1e-8, at_most=10)

    def check(self) -> None:
        """The share and the pattern agree."""
        if pattern_of(self.pattern, self.keep).group and self.of in BY_LAYER:
            raise ValueError(f"{self.of} has no pattern {self.pattern}; {', '.join(PATTERNED)} have")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Let the other method mask a copy, then fit the survivors, in place."""
        from prunebench_methods.masks.masked_refit_math import refit_layers

        return refit_layers(network, task, self._other(task), self.reasons(task.shapes), (self.section, self.damp))

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone, as far as this method decides."""
        found, wanted = weight_refusals(shapes, self.section), pattern_of(self.pattern, self.keep)
        return {s.name: found[s.name] or too_wide(s) or wanted.refusal(s) for s in shapes}

    def _other(self, task: Task) -> Method:
        """The other method with those of the settings that it knows."""
        mine = {"keep": self.keep, "pattern": self.pattern, "section": self.section}
        try:
            share = {} if self.keep is None else {"keep": self.keep}
            pattern = {"pattern": self.pattern} if self.of in PATTERNED else {}
            known = {field.name for field in fields(task.method(self.of, **share, **pattern))}
            given = {name: value for name, value in mine.items() if name in known and value is not None}
            return task.method(self.of, **given)
        except PruneBenchError as error:
            raise NotApplicable(f"a mask comes from a method with the share `keep`: {error}") from None

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Closed form where it is that of the methods here that mask by layer or by pattern."""
        if self.of in PATTERNED:
            why, wanted = self.reasons(shapes), pattern_of(self.pattern, self.keep)
            return [masked(s, why[s.name], wanted.survivors(s)) for s in shapes]
        if self.of in BY_LAYER and self.keep is not None and not any(map(too_wide, shapes)):
            return masked_counts(shapes, self.section, self.keep)
        return None

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
