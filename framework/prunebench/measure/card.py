"""How much of a card's memory is to be had."""

from __future__ import annotations

import torch


def free_and_total_bytes(device: torch.device) -> tuple[int, int]:
    """What this process could still allocate on a CUDA device, its allocator's own reserve included, and all there is.

    Raises RuntimeError where the card does not answer, or has not even room for a context.
    """
    free, total = torch.cuda.mem_get_info(device)
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + reserve, total
