"""The tests that are marked gpu; on a CPU, that they are found and skipped, and the tests with a played card."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from card.record import Record

ROOT = Path(__file__).parents[3]
MARK = re.compile(r"(@|marks=)pytest\.mark\.gpu")
PLAYED = ("tests/framework/measure/test_cuda.py",)  # the same clocks and counters, against a card that is played
LEAST = 10  # tests that must be found
END_SECONDS = 8.0


def run(record: Record) -> None:
    """Every file that has the mark; what is slow comes last."""
    files = sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if MARK.search(path.read_text())
    )
    found = _outcomes(record, ["-m", "gpu and not slow and not long", *files], "quick")
    if record.device == "cpu":
        found += _outcomes(record, ["-m", "not gpu", *PLAYED], "played")
    elif record.has_time("the tests that are slow", 15):
        found += _outcomes(record, ["-m", "gpu and (slow or long)", *files], "slow")
    for test in found:
        record.row(**test)
    _judged(record, found)


def _judged(record: Record, found: list[dict[str, Any]]) -> None:
    marked = [test for test in found if test["part"] != "played"]
    record.check(f"at least {LEAST} tests have the mark", len({test["test"] for test in marked}) >= LEAST, len(marked))
    for test in found:
        if test["outcome"] == "failed":
            record.check(test["test"], False, test["why"])
    if record.device == "cpu":
        record.check("all of them are skipped here", {test["outcome"] for test in marked} == {"skipped"})
        played = [test["outcome"] for test in found if test["part"] == "played"]
        record.check("tests with a played card pass", set(played) == {"passed"}, f"{len(played)} tests")
    else:
        passed = sum(test["outcome"] == "passed" for test in marked)
        record.check(f"at least {LEAST} of them ran and passed", passed >= LEAST, passed)


def _outcomes(record: Record, arguments: list[str], part: str) -> list[dict[str, Any]]:
    """What each test came to; a run that takes too long is stopped and has told what it knew."""
    lines = record.path.with_suffix(f".{part}.jsonl")
    lines.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "card.outcomes", "-p", "no:cacheprovider"]
    command += ["-o", "filterwarnings=default", "--durations=5", *arguments]
    left = record.seconds - END_SECONDS - (record.elapsed if part != "quick" else 0)
    environment = {**os.environ, "CARD_OUTCOMES": str(lines.absolute())}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, timeout=max(5.0, left), check=False)
        if done.returncode not in (0, 1, 5):  # passed, some failed, none selected
            record.check(f"pytest runs the {part} tests", False, f"status {done.returncode}")
    except subprocess.TimeoutExpired:
        record.left_out.append(f"some of the {part} tests")
    told = lines.read_text().splitlines() if lines.exists() else []
    return [{**json.loads(line), "part": part} for line in told]
