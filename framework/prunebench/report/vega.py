"""Vega, Vega-Lite and Vega-Embed as one script, taken once from vl-convert and kept in the user's cache."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from importlib import metadata
from pathlib import Path

END_TAG = re.compile(r"<(?=/script|!--|script)", re.IGNORECASE)


def bundle() -> str:
    """The script, safe to stand inside a `<script>` element; about a second the first time, then a file."""
    path = cache_folder() / f"vega-{metadata.version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    import vl_convert

    script = END_TAG.sub(r"\\x3c", vl_convert.javascript_bundle())  # type: ignore[call-arg]
    with contextlib.suppress(OSError):
        _keep(path, script)
    return script


def cache_folder() -> Path:
    """XDG_CACHE_HOME/prunebench, or ~/.cache/prunebench."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunebench"


def _keep(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(script)
    os.replace(name, path)
