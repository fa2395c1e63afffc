"""Values inside the page's scripts."""

from __future__ import annotations

from typing import Any

import msgspec

_IN_SCRIPT = {b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026"}


def script_json(value: Any) -> str:
    """`value` as JSON that may stand inside a `<script>` element; numbers that are not finite become null."""
    encoded = msgspec.json.encode(value)
    for raw, escaped in _IN_SCRIPT.items():
        encoded = encoded.replace(raw, escaped)
    return encoded.decode().replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
