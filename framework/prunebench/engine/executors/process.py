"""One worker process: started, spoken to, read without blocking, killed with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

from prunebench.engine.executors.events import Slot
from prunebench.engine.executors.logs import SlotLog
from prunebench.engine.worker.validity import MAX_RESULT_BYTES

CHUNK_BYTES = 2**18
MAX_LINE_BYTES = MAX_RESULT_BYTES + 2**20
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# The C library keeps what is freed, up to a gigabyte, instead of having activations paged in anew at every forward pass
# (benchmarks/allocator.py); other C libraries ignore it.
KEEP_BLOCKS = "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824"


class WorkerProcess:
    """A worker for `slot`, in its own process group; `fds` are to be waited for."""

    def __init__(self, slot: Slot, hello: bytes, log: SlotLog) -> None:
        self.slot = slot
        self.log = log
        self.socket, theirs = socket.socketpair()
        self.log_fd, write_end = os.pipe()
        try:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "prunebench.engine.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                env=environment(slot),
            )
        except OSError:
            self.socket.close()
            os.close(self.log_fd)
            raise
        finally:
            theirs.close()
            os.close(write_end)
        self.exit_fd = os.pidfd_open(self.popen.pid) if hasattr(os, "pidfd_open") else None
        self.socket.setblocking(False)
        os.set_blocking(self.log_fd, False)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.send(hello)

    @property
    def fds(self) -> list[int]:
        """What becomes readable when it speaks, prints or ends."""
        ends = [] if self.exit_fd is None else [self.exit_fd]
        return [self.socket.fileno(), self.log_fd, *ends]

    def send(self, line: bytes) -> None:
        """One message; a worker that is gone is noticed elsewhere."""
        with contextlib.suppress(OSError):
            self.socket.setblocking(True)
            self.socket.sendall(line + b"\n")
        self.socket.setblocking(False)

    def hang_up(self) -> None:
        """Let it leave by itself: it reads the end of its orders."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def has_exited(self) -> bool:
        """Whether it is dead, though not reaped: its number is still its own."""
        if not hasattr(os, "waitid"):
            return self.popen.poll() is not None
        return os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def read_lines(self) -> list[bytes]:
        """Complete messages that have come; a line without end is the end of the worker."""
        try:
            data = self.socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            self.kill()
            return []
        return self._lines(data)

    def read_log(self) -> bool:
        """Move what was printed to the log; False when there was nothing."""
        try:
            data = os.read(self.log_fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.log.write(data)
        return bool(data)

    def kill(self) -> None:
        """Kill it and all its children; harmless when it is dead, wrong after `bury`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def bury(self) -> tuple[list[bytes], int]:
        """The last messages and the exit code of a dead worker; its children go with it."""
        self.kill()
        lines: list[bytes] = []
        while data := self._rest():
            lines += self._lines(data)
        for _ in range(2**10):
            if not self.read_log():
                break
        code = self.popen.wait()
        self.socket.close()
        os.close(self.log_fd)
        if self.exit_fd is not None:
            os.close(self.exit_fd)
        return lines, code

    def _rest(self) -> bytes:
        try:
            return self.socket.recv(CHUNK_BYTES)
        except OSError:
            return b""

    def _lines(self, data: bytes) -> list[bytes]:
        *complete, rest = data.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._pending, complete[0]])
            self._pending, self._pending_bytes = [], 0
        if rest:
            self._pending.append(rest)
            self._pending_bytes += len(rest)
        if self._pending_bytes > MAX_LINE_BYTES:
            self.kill()
        return complete


def environment(slot: Slot) -> dict[str, str]:
    """This process's, with the worker pinned to its device and its threads, and its allocator set, before it wakes."""
    pinned = dict.fromkeys(THREAD_VARIABLES, str(slot.threads))
    pinned["CUBLAS_WORKSPACE_CONFIG"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG") or ":4096:8"  # sums in one order
    pinned["GLIBC_TUNABLES"] = os.environ.get("GLIBC_TUNABLES") or KEEP_BLOCKS
    if slot.visible is not None:
        pinned |= {"CUDA_VISIBLE_DEVICES": slot.visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**os.environ, **pinned, "PRUNEBENCH_SLOT": slot.name}
