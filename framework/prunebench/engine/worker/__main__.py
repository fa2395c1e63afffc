"""The worker's life: greet, open the workbench, answer order after order until the supervisor hangs up."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import dataclasses
import faulthandler
import importlib
import inspect
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol

from prunebench.engine.worker.leases import Lease
from prunebench.engine.worker.memory import await_memory
from prunebench.engine.worker.messages import HEADING, RELEASE, Channel, Hello, Order, Report
from prunebench.engine.worker.validity import encoded, invalid
from prunebench.errors import PruneBenchError, encodable, said
from prunebench.records import Result, Status, Trial

BEAT_SECONDS = 10.0
PR_SET_PDEATHSIG = 1


class Workbench(Protocol):
    """What a runner gives to a worker: everything that its trials share."""

    def run_trial(self, trial: Trial) -> Result:
        """How `trial` ended; one with a parameter `batch_halved` is called with True after a lack of memory."""


OpenWorkbench = Callable[[dict[str, Any], str, Callable[[str, float | None], None]], Workbench]


def main() -> None:
    """Serve one supervisor until it hangs up."""
    faulthandler.enable()
    parent = os.getppid()
    die_with_parent()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    hello = channel.receive(Hello)
    if hello is not None:
        threading.Thread(target=beat, args=(channel, parent), daemon=True).start()
        serve(channel, hello)
    leave()


def leave() -> NoReturn:
    """End with what plugins do at exit, but without taking apart an interpreter full of torch: that takes seconds."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def serve(channel: Channel, hello: Hello) -> None:
    """Open the workbench, then answer order after order."""
    try:
        workbench = runner(hello.runner)(hello.settings, hello.device, channel.progress)
    except PruneBenchError as error:
        return channel.send(Report("refused", text=str(error)))
    except BaseException as error:
        traceback.print_exc()
        return channel.send(Report("refused", text=f"{type(error).__name__}: {said(error)}"))
    channel.send(Report("ready", pid=os.getpid(), host=socket.gethostname()))
    lease = Lease(hello.leases, holder(hello))
    while (order := channel.receive(Order)) is not None:
        if order == RELEASE:
            lease.release()
        elif lease.take_at_once():
            answer(channel, hello, workbench, order)
            lease.release()
        else:  # the order goes back: others may have a device for it, before there is one here
            wait_for(lease, channel)


def holder(hello: Hello) -> str:
    """Whose device it is while this worker has it, for those who wait."""
    folder = Path(str(hello.settings.get("checkpoints", "."))).parent
    return f"process {os.getppid()}, results in {encodable(str(folder))}"


def wait_for(lease: Lease, channel: Channel) -> None:
    """Until the device is ours; whoever gives orders is told before and after."""
    channel.send(Report("waiting", text=lease.awaited()))
    lease.wait()
    channel.send(Report("holding"))


def answer(channel: Channel, hello: Hello, workbench: Workbench, order: Order) -> None:
    """One trial, on a device that is ours, with memory to breathe."""
    print(f"{HEADING}{order.trial.id} attempt {order.attempt}: {order.trial.method.label}", flush=True)
    await_memory(hello.device, channel.note)
    channel.send(Report("begun"))
    with limited_memory(hello):
        result = attempt(workbench, order, hello.timeout_seconds)
    channel.send_line(encoded(result, bool(getattr(workbench, "is_spent", False))))


def attempt(workbench: Workbench, order: Order, timeout_seconds: float | None) -> Result:
    """The result, whatever plugin code raises; a process that it forked and let come back here ends."""
    pid, started_at, start = os.getpid(), datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
    if timeout_seconds is not None:
        # Where it hangs, into the log, just before the supervisor kills at the deadline.
        faulthandler.dump_traceback_later(timeout_seconds - min(1.0, 0.2 * timeout_seconds))
    try:
        result = run(workbench, order)
    except BaseException as error:
        status: Status = "oom" if isinstance(error, MemoryError) else "failed"
        name, text = type(error).__name__, said(error)
        reason = name if text == name else f"{name}: {text}"
        seconds = time.monotonic() - start
        detail = encodable(traceback.format_exc())
        result = Result(order.trial, status, reason, detail, started_at=started_at, seconds=seconds)
    finally:
        if os.getpid() != pid:
            os._exit(0)
        faulthandler.cancel_dump_traceback_later()
    if not isinstance(result, Result):
        result = invalid(order.trial, f"expected a Result, got {type(result).__name__}")
    return dataclasses.replace(result, attempt=order.attempt)


def run(workbench: Workbench, order: Order) -> Result:
    """The workbench's answer; after a lack of memory one that knows how to takes smaller batches."""
    if order.batch_halved and "batch_halved" in inspect.signature(workbench.run_trial).parameters:
        return workbench.run_trial(order.trial, batch_halved=True)  # type: ignore[call-arg]
    return workbench.run_trial(order.trial)


def runner(spec: str) -> OpenWorkbench:
    """The function that `module:function` names."""
    module, _, function = spec.partition(":")
    found: OpenWorkbench = getattr(importlib.import_module(module), function)
    return found


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; elsewhere than on Linux, nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def beat(channel: Channel, parent: int) -> None:
    """Signs of life; an orphan ends itself with all its children."""
    while True:
        if os.getppid() != parent:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        channel.send(Report("beat"))
        time.sleep(BEAT_SECONDS)


@contextlib.contextmanager
def limited_memory(hello: Hello) -> Iterator[None]:
    """Bound the address space to what is in use plus the limit; not with CUDA, which reserves what it never uses."""
    in_use = Path("/proc/self/statm")
    if hello.memory_limit_bytes is None or not hello.device.startswith("cpu") or not in_use.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(in_use.read_text().split()[0])
    limit = pages * resource.getpagesize() + hello.memory_limit_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


if __name__ == "__main__":
    main()
