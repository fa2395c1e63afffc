"""Randomized matrix multiplication: a few columns, drawn again at every forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank.low_rank import SECTION_DOC
from prunebench_methods.shared.selection import SECTIONS, auto_section, matrix_shape, refusals, require_one

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class RandomMatmul(Method):
    """Multiply by `samples` of the weight's columns, drawn by the norms of the columns of weight and batch.

    Drineas, Kannan and Mahoney, 2006; for networks Ravan and Ebanks, 2024, Algorithm 1. The unbiased estimator divides
    every drawn term by the number of samples and its probability, which the printed algorithm forgets
    (`variant = "as_printed"`); without replacement it is priority sampling (Duffield et al., 2007). "top_norm" takes
    the columns of the largest norms and draws nothing. The norms are taken over a whole batch, so an answer depends on
    the other samples of its batch. A layer that has no more columns than samples are asked for is multiplied exactly,
    which costs less; the authors' code draws there too (`oversample`). Nothing is stored less: the number of parameters
    stays.
    """

    name = "random_matmul"
    paper = "https://yravan.github.io/projects/18065"
    stochastic = True
    knob = "samples_ratio"
    example = {"samples_ratio": 0.25}

    samples: int | None = param(None, "columns drawn in every layer and forward pass", at_least=1)
    samples_ratio: float | None = param(None, "columns drawn, as a share of a layer's", above=0, at_most=1)
    variant: str = param("unbiased", "the estimator", choices=("unbiased", "as_printed", "top_norm"))
    replacement: bool = param(True, "whether a column can be drawn twice; only for the unbiased variant")
    oversample: bool = param(
        False, "draw also where a layer has no more columns than samples, as the authors' code does", additive=True
    )
    section: str = param("auto", SECTION_DOC + '; "auto": convolutions if there are any', choices=("auto", *SECTIONS))

    def check(self) -> None:
        """Exactly one number of samples, and draws that can be made."""
        require_one(samples=self.samples, samples_ratio=self.samples_ratio)
        if not self.replacement and self.variant != "unbiased":
            raise ValueError(f"replacement = false is for variant 'unbiased', got {self.variant!r}")
        if self.oversample and (not self.replacement or self.variant == "top_norm"):
            raise ValueError("oversample = true draws columns again: it needs replacement = true and no 'top_norm'")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by sampling ones, each with a seed of its own."""
        from prunebench_methods.low_rank.random_matmul_math import sample_products

        return sample_products(self, network, task)

    def samples_of(self, shape: LayerShape) -> int:
        """Columns drawn of this layer's."""
        columns = matrix_shape(shape)[1]
        return self.samples if self.samples is not None else max(1, round((self.samples_ratio or 1.0) * columns))

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for those to be sampled."""
        found = refusals(shapes, auto_section(self.section, shapes), grouped=False)
        return {shape.name: found[shape.name] or self._exact(shape) for shape in shapes}

    def _exact(self, shape: LayerShape) -> str:
        samples, columns = self.samples_of(shape), matrix_shape(shape)[1]
        if self.oversample or samples < columns:
            return ""
        return f"{samples} samples of {columns} columns: multiplied exactly"

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts]:
        """All parameters, and c·m multiply-accumulates a position."""
        why = self.reasons(shapes)
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else LayerCounts(
                s.name, s.parameter_count, s.parameter_count, self.samples_of(s) * s.out_channels * s.positions
            )
            for s in shapes
        ]
