"""What a run is doing, kept from its events: for its own screen, and in a file for those who look from outside."""

from __future__ import annotations

from prunebench.engine.activity.file import Activity, ActivityFile, Process, activity_path, read_activity
from prunebench.engine.activity.tally import Device, Ending, Snapshot, Tally, clock, ending
from prunebench.engine.activity.throttled import Throttled

__all__ = [
    "Activity",
    "ActivityFile",
    "Device",
    "Ending",
    "Process",
    "Snapshot",
    "Tally",
    "Throttled",
    "activity_path",
    "clock",
    "ending",
    "read_activity",
]
