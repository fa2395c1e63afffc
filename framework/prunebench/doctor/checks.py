"""The result of one check of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One check: `mend` says how to fix it, and is empty when nothing is wrong."""

    name: str
    state: Literal["ok", "warning", "fault"]
    seen: str
    mend: str = ""
