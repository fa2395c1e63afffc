"""Vega, Vega-Lite and Vega-Embed as one script, taken once from vl-convert and kept in the user's cache."""

from __future__ import annotations

import contextlib
import os
import re
from importlib import metadata
from pathlib import Path

from prunebench.writing import write_whole

END_TAG = re.compile(r"<(?=/script|!--|script)", re.IGNORECASE)


def bundle() -> str:
    """The script, safe to stand inside a `<script>` element; about a second the first time, then a file."""
    path = cache_folder() / f"vega-{metadata.version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    import vl_convert

    script = END_TAG.sub(r"\\x3c", vl_convert.javascript_bundle())  # type: ignore[call-arg]
    with contextlib.suppress(OSError):
        write_whole(path, script.encode())
    return script


def cache_folder() -> Path:
    """XDG_CACHE_HOME/prunebench, or ~/.cache/prunebench."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunebench"
