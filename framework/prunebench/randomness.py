"""Global generators, lent: code that draws from them draws the same numbers every time, and nobody notices."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Generators of torch (for the CPU and `device`), Python and NumPy: seeded inside, and outside as they were."""
    cards = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every card, and restore none
        for card in cards:
            with torch.cuda.device(card):
                torch.cuda.manual_seed(seed)
        with _python_and_numpy(seed):
            yield


@contextmanager
def _python_and_numpy(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
