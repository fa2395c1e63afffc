"""A workbench without torch whose methods are the faults that a worker must survive, or die of alone."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prunebench.errors import DataError
from prunebench.records import Measurement, Result, Trial

BROKEN = Measurement(
    test_count=1,
    top1_accuracy=1.0,
    top5_accuracy=None,
    loss=0.0,
    correct="",
    top1_accuracy_before_finetune=None,
    parameter_count=1,
    nonzero_parameter_count=1,
    mac_count=None,
    stored_bytes=4,
    gzip_bytes=4,
    prune_seconds=0.0,
    finetune_seconds=0.0,
    train_seconds=0.0,
    peak_memory_bytes=None,
    realised=True,
)


def open_workbench(settings: dict[str, Any], device: str, progress: Any) -> ToyWorkbench:
    """What is wrong with it is told by the name of the data folder."""
    match Path(settings["data_dir"]).name:
        case "dies":
            os._exit(7)
        case "refuses":
            raise DataError("the data are not there: fetch them")
        case "breaks":
            raise ImportError("No module named 'broken_plugin'")
    return ToyWorkbench(settings, device, progress)


class PlainWorkbench:
    """Lacks memory on the first attempt; knows nothing of batches."""

    def __init__(self, settings: dict[str, Any], device: str, progress: Any) -> None:
        self.mark = Path(settings["data_dir"]) / "lacked"

    def run_trial(self, trial: Trial) -> Result:
        if self.mark.exists():
            return Result(trial, "ok")
        self.mark.touch()
        raise MemoryError


class ToyWorkbench:
    """Runs the method of the trial's name below; writes a line per trial to `<data_dir>/ran`."""

    def __init__(self, settings: dict[str, Any], device: str, progress: Any) -> None:
        self.folder = Path(settings["data_dir"])
        self.checkpoints = Path(settings["checkpoints"])
        self.device = device
        self.progress = progress

    def run_trial(self, trial: Trial, batch_halved: bool = False) -> Result:
        """The result of the toy."""
        with open(self.folder / "ran", "a") as file:
            file.write(f"{trial.method.label} {trial.network_id} {os.getpid()} {os.environ['PRUNEBENCH_SLOT']}\n")
        self.batch_halved = batch_halved
        return getattr(self, trial.method.use)(trial)

    def sleeps(self, trial: Trial) -> Result:
        self.progress("sleep", 0.5)
        began = time.monotonic()
        time.sleep(float(trial.method.params["seconds"]))
        card, slot = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["PRUNEBENCH_SLOT"]
        return Result(trial, "ok", detail=f"{began} {time.monotonic()} {card or '-'} {slot}")

    dense = fine = lambda self, trial: Result(trial, "ok", reason=f"pid {os.getpid()}")

    def keeps_checkpoint(self, trial: Trial) -> Result:
        """Trains the network once, as far as files can tell."""
        record, weights = (self.checkpoints / f"{trial.network_id}.{kind}" for kind in ("json", "safetensors"))
        if record.exists():
            assert weights.read_bytes() == b"weights" * 1000
            time.sleep(0.3)
            return Result(trial, "ok", "read", detail=str(self.checkpoints.resolve()))
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        weights.write_bytes(b"weights" * 1000)
        record.write_text("{}")
        return Result(trial, "ok", "trained", detail=str(self.checkpoints.resolve()))

    def declines(self, trial: Trial) -> Result:
        return Result(trial, "skipped", "not applicable")

    def fails(self, trial: Trial) -> Result:
        return Result(trial, "failed", "ValueError: no")

    def environment(self, trial: Trial) -> Result:
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PRUNEBENCH_SLOT", "GLIBC_TUNABLES")
        return Result(trial, "ok", detail=" ".join(f"{name}={os.environ.get(name)}" for name in names))

    def segfaults(self, trial: Trial) -> Result:
        ctypes.string_at(0)
        raise AssertionError

    def exits(self, trial: Trial) -> Result:
        os._exit(3)

    def system_exit(self, trial: Trial) -> Result:
        sys.exit(4)

    def interrupts(self, trial: Trial) -> Result:
        raise KeyboardInterrupt

    def killed_once(self, trial: Trial) -> Result:
        """As the kernel does when memory is short; the second attempt lives."""
        mark = self.folder / f"{trial.id}.mark"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Result(trial, "ok")

    def killed(self, trial: Trial) -> Result:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def hangs_in_c(self, trial: Trial) -> Result:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter's lock
        raise AssertionError

    def allocates(self, trial: Trial) -> Result:
        kept = []
        while True:
            kept.append(bytearray(2**24))

    def aborts_for_memory(self, trial: Trial) -> Result:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()

    def oom_unless_halved(self, trial: Trial) -> Result:
        status = "ok" if self.batch_halved else "oom"
        return Result(trial, status, reason=f"pid {os.getpid()}")

    def returns_nothing(self, trial: Trial) -> Any:
        return None

    def returns_lambda(self, trial: Trial) -> Result:
        return Result(trial, "ok", detail=lambda: None)  # type: ignore[arg-type]

    def returns_wrong_type(self, trial: Trial) -> Result:
        values = {**vars(BROKEN), "top1_accuracy": "high"}
        return Result(trial, "ok", measurement=Measurement(**values))

    def returns_nan(self, trial: Trial) -> Result:
        return Result(trial, "ok", measurement=Measurement(**{**vars(BROKEN), "loss": float("nan")}))

    def returns_surrogate(self, trial: Trial) -> Result:
        return Result(trial, "ok", measurement=Measurement(**{**vars(BROKEN), "correct": "\ud800"}))

    def returns_much(self, trial: Trial) -> Result:
        return Result(trial, "ok", detail="x" * (200 * 2**20))

    def returns_some_megabytes(self, trial: Trial) -> Result:
        return Result(trial, "ok", detail="x" * (20 * 2**20))

    def prints(self, trial: Trial) -> Result:
        for _ in range(100):
            os.write(1, b"\x1b[31mnoise\xff\n" * (2**20 // 11))
        return Result(trial, "ok")

    def forks(self, trial: Trial) -> Result:
        """Leaves a child that would sleep for ten minutes; its number is the detail."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (self.folder / "child").write_text(str(child.pid))
        child.returncode = 0  # nobody waits for it
        return Result(trial, "ok", detail=str(child.pid))

    def forks_and_waits(self, trial: Trial) -> Result:
        self.forks(trial)
        time.sleep(600)
        raise AssertionError

    def forks_and_dies(self, trial: Trial) -> Result:
        self.forks(trial)
        os._exit(1)

    def forks_back_into_the_worker(self, trial: Trial) -> Result:
        who = "child" if os.fork() == 0 else "parent"
        return Result(trial, "ok", reason=who)

    def fills_the_disk(self, trial: Trial) -> Result:
        """Writes to the disk that is mounted at `<data_dir>/disk`, and leaves it full."""
        assert os.path.ismount(self.folder / "disk")
        with open(self.folder / "disk" / "ballast", "wb", buffering=0) as ballast:
            for _ in range(2**20):
                ballast.write(bytes(2**12))
        raise AssertionError
