"""Two minutes of the soak run; `benchmarks/soak.py` does the same for an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_under_random_faults_every_trial_has_its_row_and_nothing_grows() -> None:
    command = [sys.executable, str(SOAK), "--minutes", "1.05", "--pause", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["faults"] == []
    assert sum(told["rows"].values()) == 1050 + 120
    assert sum(told["deeds"].values()) >= 10
    assert told["samples"] >= 40  # enough to weigh the run and its worker
