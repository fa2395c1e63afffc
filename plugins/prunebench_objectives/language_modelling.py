"""The next token: cross-entropy to train with, perplexity to be scored by, windows of text to be compared on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench_objectives.delegating import Delegating

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LanguageModelling(Delegating):
    """Logits (B, T, vocabulary) against the tokens that come next, (B, T) int64, -100 where there is none.

    Perplexity is exp of the mean negative log-likelihood of all scored tokens. Tokens of one window depend on each
    other, so two networks are compared on windows. Targets may also be `{"tokens": (B, T), "bytes": (B,)}`, the bytes
    of text that a window's scored tokens stand for: bits per byte is told then, which no tokenizer changes.
    """

    name = "language_modelling"
    score = "perplexity"
    title = "perplexity"
    units = {"perplexity": "", "loss": "nats per token", "bits_per_byte": "bits", "token_count": "tokens"}
    larger_is_better = False
    compared = "ratio"
    near = (0.01, 0.05)
    paired = "values"

    @staticmethod
    def mathematics() -> Any:
        """Losses, scores and floors as functions of tensors."""
        from prunebench_objectives import language_math

        return language_math

    def spread(self, outputs: Any, generator: torch.Generator) -> Any:
        """Second moment diag(p) - p p' of each position's probabilities p."""
        from prunebench_objectives.probabilities import spread

        return spread(outputs, generator)

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Random outputs."""
        import torch

        outputs = torch.randn(count, 6, 11, generator=generator)
        return outputs, (torch.arange(count)[:, None] + torch.arange(6)) % 11
