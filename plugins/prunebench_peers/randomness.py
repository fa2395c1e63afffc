"""Libraries that draw from torch's and NumPy's global generators, made to follow the trial's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def drawn_seed(generator: torch.Generator) -> int:
    """A whole number below 2**31 from the trial's generator."""
    return int(torch.randint(2**31, (), generator=generator))


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Both global generators seeded from `generator` inside, as they were outside."""
    seed, state = drawn_seed(generator), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
