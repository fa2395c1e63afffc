"""What is written elsewhere: text into SQL, messages, terminals and pages; files, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

# C0 and C1 controls, the directional overrides and isolates, line separators, surrogates, non-characters
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")


def quoted(text: str) -> str:
    """`text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def short(value: object, limit: int = 60) -> str:
    """`value` as it may stand in a message: its repr, cut at `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fits_in_64_bits(value: int) -> bool:
    """Whether the database can hold the whole number."""
    return -(2**63) <= value < 2**63


def printable(text: object, longest: int = 2000) -> str:
    """`text` with every character that steers a terminal, a page or a renderer written as its escape."""
    shown = _UNSHOWABLE.sub(lambda match: escape(match.group()), str(text))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def printable_lines(text: object, longest: int = 20_000) -> str:
    """As `printable`, but line breaks and tabs stay."""
    return printable_join(str(text).expandtabs(4).splitlines(), longest)


def printable_join(lines: list[str], longest: int) -> str:
    """The lines, each made printable, cut at `longest` characters."""
    shown = "\n".join(printable(line, longest) for line in lines)
    return shown if len(shown) <= longest else f"{shown[:longest]}\n…"


def escape(character: str) -> str:
    """The character by its number: `\\x1b`, `\\u200e`, `\\U000e0001`."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write `content` beside `path` and rename it, as `put_whole` does."""
    put_whole(path, lambda part: part.write_bytes(content), durable=durable)


def put_whole(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> None:
    """Let `write` make a file beside `path` and rename it: readers see all of it, or what was there before.

    The folder is made where it is not there. `durable` waits until the content is on the disk. Raises OSError, and
    leaves nothing behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        write(part)
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
