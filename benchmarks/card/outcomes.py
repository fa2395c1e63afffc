"""A pytest plugin: a line of JSON for every test that ended, so that a run that is stopped has told what it knew."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The test's own outcome; of set-up and tear-down only what went wrong or was skipped."""
    if report.when != "call" and report.outcome == "passed":
        return
    told = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2), "why": _why(report)}
    with Path(os.environ["CARD_OUTCOMES"]).open("a") as file:
        file.write(json.dumps(told) + "\n")


def _why(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    text = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E ")]
    return " | ".join((errors or lines)[-3:])[-600:]
