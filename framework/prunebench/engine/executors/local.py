"""Workers on this machine: one subprocess a slot, and one selector over all that they say."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from prunebench.engine.executors import guardian
from prunebench.engine.executors.events import RETRIES, RetryPolicy, Slot, WorkSettings
from prunebench.engine.executors.logs import SlotLog
from prunebench.engine.executors.process import WorkerProcess
from prunebench.engine.executors.supervisor import Supervisor
from prunebench.engine.executors.transport import Exited, Happening, Said
from prunebench.engine.worker.messages import Hello
from prunebench.records import encode

LEAVE_SECONDS = 2.0  # for idle workers to end by themselves, with what plugins do at exit
LONGEST_WAIT_SECONDS = 86_400.0  # epoll takes no more than 24 days
POLL_SECONDS = 0.5  # only where the kernel cannot tell that a process has ended


class LocalExecutor(Supervisor):
    """Runs trials in `devices`, a worker each. Call `run` in a thread that lives on: the workers die with it."""

    def __init__(
        self,
        devices: Sequence[Slot],
        settings: WorkSettings,
        retries: RetryPolicy = RETRIES,
        runner: str = "prunebench.trial.runner:open_workbench",
    ) -> None:
        transport = LocalTransport(lambda slot: hello(slot, settings, runner), settings.log_dir)
        super().__init__(devices, transport, retries, settings.timeout_seconds)


def hello(slot: Slot, settings: WorkSettings, runner: str) -> Hello:
    """What the worker in `slot` is told first."""
    threads = settings.threads_per_slot or slot.threads
    return Hello(
        runner,
        slot.device,
        settings={**asdict(settings), "threads_per_slot": threads},
        leases=slot.leases,
        memory_limit_bytes=settings.memory_limit_bytes,
        timeout_seconds=settings.timeout_seconds,
    )


class Bell:
    """A selector that any thread or signal handler can wake, and that closes itself when nobody did."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.selector.register(self._woken, selectors.EVENT_READ)
        self.close = weakref.finalize(self, close_all, self.selector, self._woken, self._waker)

    def ring(self) -> None:
        """End a `select`; nothing when it is closed or has been rung already."""
        with contextlib.suppress(OSError):
            self._waker.send(b"!")

    def silence(self) -> None:
        """Forget that it was rung."""
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(64):
                pass


def close_all(*things: selectors.BaseSelector | socket.socket) -> None:
    """Close them."""
    for thing in things:
        thing.close()


class LocalTransport:
    """Worker processes by slot."""

    def __init__(self, hello_for: Callable[[Slot], Hello], log_dir: str | None = None) -> None:
        self._hello_for = hello_for
        self._log_dir = log_dir
        self._logs: dict[str, SlotLog] = {}
        self._workers: dict[str, WorkerProcess] = {}
        self._stillborn: list[Happening] = []
        self._bell = Bell()
        self._selector = self._bell.selector
        self._guardian: subprocess.Popen[bytes] | None = None

    def start(self, slot: Slot) -> None:
        """Begin a worker."""
        log = self._logs.setdefault(slot.name, SlotLog(self._log_path(slot.name)))
        log.begin()
        try:
            worker = WorkerProcess(slot, encode(self._hello_for(slot)), log)
        except OSError as error:
            self._stillborn.append(Exited(slot.name, f"the system cannot start a process: {error}"))
            return
        self._workers[slot.name] = worker
        self._tell_guardian(f"+{worker.popen.pid}")
        for fd in worker.fds:
            self._selector.register(fd, selectors.EVENT_READ, worker)

    def send(self, slot: str, line: bytes) -> None:
        """An order for an idle worker."""
        self._logs[slot].begin()
        self._workers[slot].send(line)

    def kill(self, slot: str) -> None:
        """End a worker and its children."""
        if slot in self._workers:
            self._workers[slot].kill()

    def wait(self, seconds: float | None) -> Sequence[Happening]:
        """What has happened: messages first, then who is dead."""
        if any(worker.exit_fd is None for worker in self._workers.values()):
            seconds = POLL_SECONDS if seconds is None else min(seconds, POLL_SECONDS)
        happenings, self._stillborn = self._stillborn, []
        seconds = None if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)
        for key, _ in self._selector.select(0 if happenings else seconds):
            worker: WorkerProcess | None = key.data
            if worker is None:
                self._bell.silence()
            elif key.fd == worker.socket.fileno():
                happenings += [Said(worker.slot.name, line) for line in worker.read_lines()]
            elif key.fd == worker.log_fd:
                worker.read_log()
        for worker in [worker for worker in self._workers.values() if worker.has_exited()]:
            happenings += self._bury(worker)
        return happenings

    def wake(self) -> None:
        """End a `wait`."""
        self._bell.ring()

    def close(self, now: bool) -> None:
        """End all workers; those that do not leave in time are killed, and what they left behind with them."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.kill() if now else worker.hang_up()
        deadline = time.monotonic() + LEAVE_SECONDS
        while self._workers and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
        for worker in list(self._workers.values()):
            self._bury(worker)
        self._dismiss_guardian()
        self._bell.close()

    def _bury(self, worker: WorkerProcess) -> list[Happening]:
        name = worker.slot.name
        for fd in worker.fds:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
        lines, code = worker.bury()
        del self._workers[name]
        self._tell_guardian(f"-{worker.popen.pid}")
        return [*(Said(name, line) for line in lines), Exited(name, described(code), worker.log.tail)]

    def _log_path(self, slot: str) -> Path | None:
        return None if self._log_dir is None else Path(self._log_dir) / f"{slot.replace(':', '-')}.log"

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is None:
            command = [sys.executable, "-I", "-S", str(Path(guardian.__file__))]
            self._guardian = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert self._guardian.stdin is not None
        with contextlib.suppress(OSError):
            os.write(self._guardian.stdin.fileno(), f"{line}\n".encode())

    def _dismiss_guardian(self) -> None:
        if self._guardian is not None:
            assert self._guardian.stdin is not None
            self._guardian.stdin.close()
            self._guardian.wait()


def described(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"the worker exited with code {code}"
    if -code == signal.SIGKILL:
        return "killed (signal 9), maybe out of memory"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    return f"killed (signal {-code}, {name})"
