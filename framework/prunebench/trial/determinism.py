"""What torch leaves to the machine and to whoever ran before, settled while a network is trained, pruned and scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic

FILLS = "fill_uninitialized_memory"  # torch's types do not know it


@contextmanager
def settled(threads: int) -> Iterator[None]:
    """`threads` threads and deterministic kernels inside, as it was outside; timing is not done in here.

    Sums of floating-point numbers depend on how many threads share them, so that a network trained with two is another
    one. An operation without a deterministic kernel still runs, with torch's warning in the worker's log. Memory that
    an operation leaves as it found it is not filled: that costs time, and no network of ours reads it.
    """
    before, fills, tries = torch.get_num_threads(), getattr(deterministic, FILLS), torch.backends.cudnn.benchmark
    was_strict = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    setattr(deterministic, FILLS, False)
    torch.backends.cudnn.benchmark = False  # it takes the kernel that was fastest just now
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(was_strict, warn_only=only_warns)
        setattr(deterministic, FILLS, fills)
        torch.backends.cudnn.benchmark = tries
