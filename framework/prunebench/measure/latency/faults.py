"""What makes a measurement void: the runner stores a failed row with the message as its reason."""

from __future__ import annotations

import torch

from prunebench.errors import InvalidOutput, said

__all__ = ["ChangedWeights", "InvalidOutput", "is_lack_of_memory"]

NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")  # the last: cuBLAS and cuDNN


class ChangedWeights(InvalidOutput):
    """A network whose forward pass changes its own weights: no two measurements of it are of the same network."""


def is_lack_of_memory(error: BaseException) -> bool:
    """By its type, or by what allocators of the host and of the card are known to say."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = said(error, 20_000).lower()
    return any(name in text for name in NO_MEMORY)
