"""What the C library holds of memory that nobody uses."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

LARGE_BYTES = 128 << 20
ARENA_MAX = -8  # the number of this setting in glibc's malloc.h


def is_large(weight_count: int) -> bool:
    """Whether so many weights take more than 128 MiB as float32: what a trial keeps beside them is then put away."""
    return 4 * weight_count > LARGE_BYTES


def give_back_free() -> None:
    """Hand free pages of the heap back to the system; glibc keeps them by the gigabyte in workers; else nothing."""
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(ctypes.c_size_t(0))


def share_heaps() -> None:
    """Let threads to come take memory from the heaps there are; by default glibc gives each thread a heap of its own.

    What a thread frees in a heap of its own stays with the process, and the next thread may begin another one.
    """
    if (setting := _of_libc("mallopt")) is not None:
        setting(ctypes.c_int(ARENA_MAX), ctypes.c_int(1))


def _of_libc(name: str) -> Any:
    """The function of that name, None where the C library is not Linux's or lacks it."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
