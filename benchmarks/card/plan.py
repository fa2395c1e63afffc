"""The steps in their order of value, each with the seconds that it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """`module` has a function `run(record)`; below `least` seconds it is not begun."""

    name: str
    seconds: float
    what: str
    least: float = 10.0

    @property
    def module(self) -> str:
        """Where it is written down."""
        return f"card.steps.{self.name}"


STEPS = (
    Step("tests", 85, "the tests that are marked gpu"),
    Step("quickstart", 120, "the quickstart on the device, its values against the CPU's"),
    Step("timing", 50, "networks against their own copies, and against 5 % more work"),
    Step("speed", 70, "speed-up beside multiply-accumulates, method by method"),
    Step("decompositions", 20, "SVD, eigenvalues, Gram matrices, alternating least squares against the CPU's"),
    Step("decoders", 62, "prefill and decode of language models, dense against factored"),
    Step("grid", 30, "a grid of small trials: trials a minute, utilisation"),
    Step("memory", 60, "a trial that does not fit, and the ones after it", least=45),
    Step("precision", 85, "bfloat16, float16, TF32, channels_last, compiled, CUDA graphs"),
)
NAMES = tuple(step.name for step in STEPS)
