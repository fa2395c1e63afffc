"""Python, the packages, the plugins and the renderer of charts."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator

from prunebench import __version__
from prunebench.doctor.checks import Check
from prunebench.errors import PruneBenchError
from prunebench.plugins.discovery import find_installed

REQUIRED = ("torch", "torchvision", "duckdb", "polars", "altair", "click", "msgspec", "safetensors", "pluggy")
PICTURE = {"data": {"values": [{}]}, "mark": {"type": "text", "text": "bench doctor"}}


def python() -> Iterator[Check]:
    """Which Python runs which prunebench."""
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    yield Check("python", "ok", f"{implementation} at {sys.executable}; prunebench {__version__}")


def packages() -> Iterator[Check]:
    """What prunebench needs, and in which version it is there."""
    versions, absent = [], []
    for name in REQUIRED:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        yield Check("packages", "fault", f"not installed: {', '.join(absent)}", f"pip install {' '.join(absent)}")
    else:
        yield Check("packages", "ok", ", ".join(versions))


def plugins() -> Iterator[Check]:
    """Every plugin that is broken, claimed twice or loud; how many there are otherwise."""
    installed = find_installed()
    for fault in installed.broken:
        seen = f"{fault.name} ({fault.distribution} {fault.version}): {fault.reason}"
        fix = f"upgrade or uninstall {fault.distribution}, or --disable-plugin {fault.entry}"
        yield Check("plugins", "fault", seen, fix)
    for owners in installed.clashes:
        whose = " and ".join(owner.source for owner in owners)
        yield Check("plugins", "warning", f"{owners[0].name} is claimed by {whose}", "uninstall one of them")
    for warning in installed.warnings:
        yield Check("plugins", "warning", warning, "tell its author")
    if not installed.broken:
        yield Check(
            "plugins", "ok", f"{len(installed.plugins)} from {len({p.distribution for p in installed.plugins})}"
        )


def charts() -> Iterator[Check]:
    """A page of PDF, drawn: pictures need vl-convert and no browser."""
    from prunebench.report.export import picture

    try:
        version = importlib.metadata.version("vl-convert-python")
    except importlib.metadata.PackageNotFoundError:
        yield Check("charts", "warning", "no vl-convert", "pip install vl-convert-python for SVG, PNG and PDF")
        return
    try:
        drawn = picture(PICTURE, "pdf")
    except PruneBenchError as error:
        yield Check("charts", "warning", str(error), "pip install --force-reinstall vl-convert-python")
        return
    seen = f"a PDF of {len(drawn):,} bytes drawn by vl-convert {version}; no browser is needed"
    yield Check("charts", "ok", seen)
