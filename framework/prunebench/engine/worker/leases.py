"""Lock files by which several runs on one host share its devices, trial by trial.

The worker itself holds the lock, so the kernel drops it whatever way the worker ends. Whoever finds it taken waits
behind a gate that the last holder must pass as well: two runs take turns and neither starves.
"""

from __future__ import annotations

from pathlib import Path

from prunebench.measure.latency.turnstile import Turnstile

WORDS_BYTES = 4096  # of what a holder says of itself


class Lease:
    """Any one of the locks `paths`; with none, the device is everybody's and nothing is ever waited for.

    `holder` is what others are told while this one holds it, as "process 4321, results in /home/me/runs".
    """

    def __init__(self, paths: tuple[str, ...], holder: str = "") -> None:
        self._paths = paths
        self._holder = holder
        self._held: Turnstile | None = None

    def take_at_once(self) -> bool:
        """Whether the device is ours: it was already, or one of the locks was free with nobody in line for it."""
        if self._held is not None or not self._paths:
            return True
        for path in self._paths:
            place = _turnstile(path)
            if place.take_at_once():
                self._hold(place)
                return True
            place.close()
        return False

    def wait(self) -> None:
        """Until the first of the locks is ours, before whoever has just had it."""
        place = _turnstile(self._paths[0])
        try:
            place.wait()
        except BaseException:  # a signal that ends the run: nobody else may wait for us
            place.close()
            raise
        self._hold(place)

    def awaited(self) -> str:
        """What is waited for, and who has it: `cpu-0 is in use by another run (process 4321, results in …)`."""
        path = Path(self._paths[0])
        words = path.read_bytes()[:WORDS_BYTES].decode(errors="replace").strip() if path.exists() else ""
        return f"{path.stem.removeprefix('slot-')} is in use by another run" + (f" ({words})" if words else "")

    def release(self) -> None:
        """Give it back; nothing where it is not held."""
        if self._held is not None:
            self._held.leave()
            self._held.close()
            self._held = None

    def _hold(self, place: Turnstile) -> None:
        self._held = place
        place.say(self._holder.encode()[:WORDS_BYTES])


def _turnstile(path: str) -> Turnstile:
    return Turnstile(Path(path), Path(f"{path}.gate"))
