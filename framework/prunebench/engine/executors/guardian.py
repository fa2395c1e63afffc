"""Kills what a dead supervisor leaves behind: run as a script, alone, with the standard library only.

It reads `+PGID` when a worker starts and `-PGID` when it is gone. End of file means that the supervisor has ended,
however it did; process groups still on the list are killed with all their children.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Read until the end of the file, then kill."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
