"""Text from plugins, TOML and machines, made safe to show: control and direction characters appear as escapes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

# C0 and C1 controls, the directional overrides and isolates, line separators, surrogates, non-characters
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")
_IN_SCRIPT = {b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026"}


def printable(text: object, longest: int = 2000) -> str:
    """`text` with every character that steers a terminal, a page or a renderer written as its escape."""
    shown = _UNSHOWABLE.sub(_escape, str(text))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def printable_lines(text: object, longest: int = 20_000) -> str:
    """As `printable`, but line breaks and tabs stay."""
    lines = str(text).expandtabs(4).splitlines()
    return printable_join(lines, longest)


def printable_join(lines: list[str], longest: int) -> str:
    """The lines, each made printable, cut at `longest` characters."""
    shown = "\n".join(printable(line, longest) for line in lines)
    return shown if len(shown) <= longest else f"{shown[:longest]}\n…"


def script_json(value: Any) -> str:
    """`value` as JSON that may stand inside a `<script>` element; numbers that are not finite become null."""
    encoded = msgspec.json.encode(value)
    for raw, escaped in _IN_SCRIPT.items():
        encoded = encoded.replace(raw, escaped)
    return encoded.decode().replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
