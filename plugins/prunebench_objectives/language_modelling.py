"""The next token: cross-entropy to train with, perplexity to be scored by, windows of text to be compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import Objective, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class LanguageModelling(Objective):
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

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean negative log-likelihood of the scored tokens of the batch, in nats."""
        from prunebench_objectives.language_math import loss

        return loss(outputs, targets)

    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """A window's summed negative log-likelihood, its scored tokens as weight, and its bytes where they are told."""
        from prunebench_objectives.language_math import judged

        return judged(outputs, targets)

    def scores(self, judged: Mapping[str, Tensor]) -> Mapping[str, float]:
        """Perplexity, the mean loss, the scored tokens, and bits per byte where the data set tells bytes."""
        from prunebench_objectives.language_math import scores

        return scores(judged)

    def floors(self, splits: Splits) -> Mapping[str, float]:
        """Every token alike, and tokens by how often they came in training."""
        from prunebench_objectives.language_math import floors

        return floors(splits)

    def spread(self, outputs: Any, generator: torch.Generator) -> Any:
        """Second moment diag(p) - p p' of each position's probabilities p."""
        from prunebench_objectives.probabilities import spread

        return spread(outputs, generator)

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Random outputs."""
        import torch

        outputs = torch.randn(count, 6, 11, generator=generator)
        return outputs, (torch.arange(count)[:, None] + torch.arange(6)) % 11
