"""Files written whole or not at all, and what tells one content from another."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write `content` beside `path` and rename it: readers see all of it, or what was there before.

    The folder is made where it is not there. `durable` waits until the content is on the disk. Raises OSError, and
    leaves nothing behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        with open(part, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
