"""Runs the steps one after the other, each in a process of its own with a time limit, and keeps what they find."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from card.plan import Step
from card.record import CUT_OFF, FAILED, OK, read, write

GRACE_SECONDS = 5.0  # from being asked to end to being killed
TAIL = 1500  # characters of a step's log that stand for the error of one that ended by itself


@dataclass
class Driver:
    """Where results go, what they are measured on, and how long all may take."""

    out: Path
    device: str
    scale: str
    seconds: float
    copy: Path | None = None
    patience: float = 1.0
    begun: float = field(default_factory=time.monotonic)

    def run(self, steps: tuple[Step, ...], again: bool = False) -> int:
        """Every step that is not done yet; 0 only where all of them are ok."""
        known = facts_of(self.device)
        if self.device == "cuda" and not known["card"]:
            print("card: torch sees no card: give --device cpu --scale tenth to prove the script", file=sys.stderr)
            return 2
        joined: dict[str, Any] = {"facts": known, "device": self.device, "scale": self.scale, "steps": {}}
        for step in steps:
            joined["steps"][step.name] = self._found(step, again)
            joined["passed"] = all(found["status"] == OK for found in joined["steps"].values())
            joined["seconds"] = round(time.monotonic() - self.begun, 1)
            self._keep(joined)
        print(summary(joined))
        return 0 if joined["passed"] else 1

    def _found(self, step: Step, again: bool) -> dict[str, Any]:
        """What the step found, now or before."""
        before = read(self.out / f"{step.name}.json")
        if before and not again and self._is_done(before):
            print(f"{step.name}: done before", flush=True)
            return before
        left = self.seconds - (time.monotonic() - self.begun)
        if left < step.least:
            late = f"{max(0.0, left):.0f} s of {self.seconds:.0f} s were left"
            found = self._kept(step, before, late) or self._failure(step, CUT_OFF, f"not begun: {late}")
        else:
            found = self._process(step, min(step.seconds * self.patience, left))
        held = sum(check["holds"] for check in found["checks"])
        told = f"{held} of {len(found['checks'])} checks hold, {len(found['rows'])} rows"
        print(f"{step.name}: {found['status']} in {found['seconds']} s, {told}", flush=True)
        return found

    def _is_done(self, before: dict[str, Any]) -> bool:
        return self._is_alike(before) and before.get("status") == OK

    def _is_alike(self, before: dict[str, Any]) -> bool:
        return bool(before.get("device") == self.device and before.get("scale") == self.scale)

    def _kept(self, step: Step, before: dict[str, Any] | None, late: str) -> dict[str, Any] | None:
        """What an earlier run of the step found until it was cut off or failed; there is no time for another."""
        if not before or not self._is_alike(before) or not before["rows"]:
            return None
        status = before["status"] if before["status"] in (FAILED, CUT_OFF) else CUT_OFF
        found = {**before, "status": status, "error": before["error"] or f"begun before, not ended: {late}"}
        write(self.out / f"{step.name}.json", found)
        return found

    def _process(self, step: Step, seconds: float) -> dict[str, Any]:
        """A fresh process: what it does to the card, to itself or to its memory, the next one does not see."""
        path, log = self.out / f"{step.name}.json", self.out / f"{step.name}.log"
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "card", "step", step.name, "--out", str(self.out), "--device", self.device]
        command += ["--scale", self.scale, "--seconds", f"{seconds:.1f}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            is_late = _ended(process, seconds) is None
        found = read(path)
        late = f"stopped after {seconds:.0f} s"
        if found is None:
            return self._failure(step, CUT_OFF if is_late else FAILED, late if is_late else _tail(log))
        if found["status"] not in (OK, FAILED, CUT_OFF):
            found["status"] = CUT_OFF if is_late else FAILED
            found["error"] = late if is_late else f"ended with status {process.returncode}: {_tail(log)}"
            write(path, found)
        return found

    def _failure(self, step: Step, status: str, error: str) -> dict[str, Any]:
        found = {"step": step.name, "status": status, "device": self.device, "scale": self.scale, "seconds": 0.0,
                 "error": error, "checks": [], "rows": [], "notes": [], "left_out": []}  # fmt: skip
        write(self.out / f"{step.name}.json", found)
        return found

    def _keep(self, joined: dict[str, Any]) -> None:
        """All steps so far in one file, their logs in another; both copied where that is asked for."""
        write(self.out / "card.json", joined)
        with (self.out / "card.log").open("wb") as whole:
            for name in joined["steps"]:
                whole.write(f"\n===== {name}\n".encode())
                with contextlib.suppress(OSError):
                    whole.write((self.out / f"{name}.log").read_bytes())
        if self.copy:
            self.copy.mkdir(parents=True, exist_ok=True)
            for name in ("card.json", "card.log"):
                shutil.copy(self.out / name, self.copy / name)


def facts_of(device: str) -> dict[str, Any]:
    """Found out by another process: this one holds no memory of the card."""
    code = f"import json; from card.facts import facts; print(json.dumps(facts({device!r})))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its exit status, or None where it had to be stopped with all that it started."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _tell(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        _tell(process, signal.SIGKILL)
        process.wait()
        return None
    except BaseException:
        _tell(process, signal.SIGKILL)
        raise


def _tell(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-TAIL:].strip()
    except OSError:
        return ""


def summary(joined: dict[str, Any]) -> str:
    """A line per step, what does not hold, and what was left out."""
    where = joined["facts"].get("card") or f"{joined['facts']['cores']} cores"
    lines = ["", f"{joined['device']} ({where}), {joined['scale']} size, {joined.get('seconds', 0)} s"]
    for name, found in joined["steps"].items():
        held = sum(check["holds"] for check in found["checks"])
        numbers = f"{held}/{len(found['checks'])} checks, {len(found['rows'])} rows"
        lines.append(f"{found['status']:8} {name:15} {found['seconds']:6.1f} s  {numbers}")
        lines += [f"         {'error'}: {line}" for line in found["error"].splitlines()[-3:]]
        lines += [
            f"         not so: {check['what']}: {check['seen']}" for check in found["checks"] if not check["holds"]
        ]
        lines += [f"         left out for lack of time: {what}" for what in found["left_out"]]
    lines.append("all passed" if joined.get("passed") else "not all passed")
    return "\n".join(lines)
