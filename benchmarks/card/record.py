"""What a step finds: rows, checks and notes in one JSON file, written anew after each of them."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OK, FAILED, CUT_OFF = "ok", "failed", "cut off"
SPARE_SECONDS = 3.0  # of a step's time, to write and end


@dataclass(frozen=True)
class Size:
    """How large the steps are: `full` on a card, `tenth` on a CPU."""

    scale: str = "full"

    @property
    def is_full(self) -> bool:
        """Whether networks and inputs have the sizes that people use."""
        return self.scale == "full"

    def of(self, full: Any, tenth: Any) -> Any:
        """The first at full size, else the second."""
        return full if self.is_full else tenth


@dataclass
class Record:
    """One step's findings; `status` is ok only where every check holds and nothing was left out for lack of time."""

    path: Path
    step: str
    device: str
    size: Size
    seconds: float  # the step may take
    begun: float = field(default_factory=time.monotonic)
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    status: str = "running"
    error: str = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.begun

    @property
    def place(self) -> str:
        """The device as torch is told it: tensors know their card by its number."""
        return "cuda:0" if self.device == "cuda" else self.device

    def row(self, **values: Any) -> None:
        """A figure."""
        self.rows.append(values)
        self.save()

    def check(self, what: str, holds: bool, seen: Any = "") -> None:
        """Something that must hold, and what was seen of it."""
        self.checks.append({"what": what, "holds": bool(holds), "seen": str(seen)})
        self.save()

    def note(self, text: str) -> None:
        """Something to be known of the figures."""
        self.notes.append(text)
        self.save()

    @contextmanager
    def case(self, what: str, declines: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """A part that may fail, or be declined with a reason, without the others."""
        try:
            yield
        except declines as reason:
            self.note(f"{what}: declined: {reason}")
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.check(what, False, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")
            traceback.print_exc()

    def has_time(self, what: str, seconds: float) -> bool:
        """Whether so many seconds are left; `what` is noted as left out where they are not."""
        if self.seconds - self.elapsed > seconds + SPARE_SECONDS:
            return True
        self.left_out.append(what)
        return False

    def end(self, error: str = "") -> None:
        """No more is found."""
        self.error = error
        if error or not self.checks or not all(check["holds"] for check in self.checks):
            self.status = FAILED
        else:
            self.status = CUT_OFF if self.left_out else OK
        self.save()

    def save(self) -> None:
        """All so far, whole or not at all."""
        found = {
            "step": self.step, "status": self.status, "device": self.device, "scale": self.size.scale,
            "seconds": round(self.elapsed, 1), "error": self.error, "checks": self.checks,
            "rows": self.rows, "notes": self.notes, "left_out": self.left_out,
        }  # fmt: skip
        write(self.path, found)


def write(path: Path, found: Any) -> None:
    """JSON under another name first, then renamed."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1, default=str))
    os.replace(partial, path)


def read(path: Path) -> dict[str, Any] | None:
    """What was written, None where nothing was or it is damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
