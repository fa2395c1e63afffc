"""What the C library keeps of memory that threads have freed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HELD = """
import ctypes, threading
from prunebench.measure.heap import share_heaps

if {shared}:
    share_heaps()

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

barrier = threading.Barrier(8)
def work():
    blocks = [libc.malloc(1 << 20) for _ in range(16)]
    barrier.wait()
    for block in blocks:
        libc.free(block)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_threads_share_the_heaps_there_are_once_it_is_said() -> None:
    """glibc's own account names its heaps (arenas): one per thread by default, none beside the first once shared."""
    from prunebench.engine.executors.process import KEEP_BLOCKS

    arenas = []
    for shared in (False, True):
        ran = subprocess.run(
            [sys.executable, "-c", HELD.format(shared=shared)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "GLIBC_TUNABLES": KEEP_BLOCKS},
        )
        arenas.append(ran.stderr.count("Arena "))
    if not arenas[0]:
        pytest.skip("another C library")
    assert arenas[0] > 4
    assert arenas[1] == 1
