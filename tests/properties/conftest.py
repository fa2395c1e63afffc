"""Where the made-up results are; no timing of single examples on machines that others use too."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
settings.register_profile("prunebench", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("prunebench")
