"""What a look at the machine comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One look: `mend` is empty when all is well."""

    name: str
    state: Literal["ok", "warning", "fault"]
    seen: str
    mend: str = ""
