"""What the C library holds of memory that nobody uses."""

from __future__ import annotations

import ctypes
import sys

LARGE_BYTES = 128 << 20
ARENA_MAX = -8  # the number of this setting in glibc's malloc.h


def is_large(weight_count: int) -> bool:
    """Whether so many weights take more than 128 MiB as float32: what a trial keeps beside them is then put away."""
    return 4 * weight_count > LARGE_BYTES


def give_back_free() -> None:
    """Hand free pages of the heap back to the system; glibc keeps them by the gigabyte in workers; else nothing."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(ctypes.c_size_t(0))


def share_heaps() -> None:
    """Let threads to come take memory from the heaps there are; by default glibc gives each thread a heap of its own.

    What a thread frees in a heap of its own stays with the process, and the next thread may begin another one.
    """
    if sys.platform == "linux":
        setting = getattr(ctypes.CDLL(None), "mallopt", None)
        if setting is not None:
            setting(ctypes.c_int(ARENA_MAX), ctypes.c_int(1))
