"""Something done at most four times a second, and only when there is a reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PAUSE_SECONDS = 0.25  # between two calls, at least


class Throttled:
    """Calls `act` at once, or once after the pause since the last call; no thread lives while nothing waits."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._acted = act, 0.0
        self._pending: threading.Timer | None = None

    def __call__(self) -> None:
        """Something changed."""
        if self._pending is not None:
            return
        wait = self._acted + PAUSE_SECONDS - time.monotonic()
        if wait <= 0:
            self._now()
        else:
            self._pending = threading.Timer(wait, self._now)
            self._pending.daemon = True
            self._pending.start()

    def cancel(self) -> None:
        """Forget what waits."""
        if pending := self._pending:
            pending.cancel()

    def _now(self) -> None:
        self._acted = time.monotonic()
        self._pending = None  # before the act: what happens from here on asks for another
        self._act()
