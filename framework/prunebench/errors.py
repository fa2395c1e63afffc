"""Errors that the user can fix.

PruneBenchError                 one line on the screen, exit code 2
├── GridError                   the grid file: missing, broken, unknown keys, too large
├── PlanError                   a grid that names what is not installed, or gives a wrong parameter
├── PluginError                 a plugin that cannot be used: broken import, two owners, wrong hook
├── DataError                   a data set that is not there and cannot be fetched
├── DeviceError                 a device that is not there, or named twice
├── CheckpointError             a dense network's file that cannot be read or does not match its hash
├── StoreError                  the results database or a journal
│   ├── NewerDatabase           written by a newer prunebench
│   └── NotADatabase            a file that is something else
└── QueryError                  SQL that is wrong, forbidden or over its limits

NotApplicable                   not an error: a method declines a network, with the reason
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PruneBenchError(Exception):
    """An error that the user can fix; the message names the thing, the value got, the values allowed and the fix."""

    exit_code = 2


class GridError(PruneBenchError):
    """The grid file."""


class PlanError(PruneBenchError):
    """A grid that names what is not installed, or gives a wrong parameter."""


class PluginError(PruneBenchError):
    """A plugin that cannot be used."""


class DataError(PruneBenchError):
    """A data set is missing and cannot be fetched."""


class DeviceError(PruneBenchError):
    """A device that is not there, or named twice."""


class CheckpointError(PruneBenchError):
    """A dense network's file that cannot be read or does not match its hash."""


class StoreError(PruneBenchError):
    """The results database or a journal."""


class NewerDatabase(StoreError):
    """A database written by a newer prunebench."""


class NotADatabase(StoreError):
    """A file that is no results database; the message ends in `; ` and what to do."""


class QueryError(PruneBenchError):
    """SQL that is wrong, forbidden or over its limits."""


class NotApplicable(Exception):
    """Raised by a method that declines a network; the message is the reason, stored as the row's."""


class InvalidOutput(ValueError):
    """An objective cannot judge a network's output; any number computed from it would be wrong."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` when a known name is close, otherwise an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def said(error: BaseException, longest: int = 1000) -> str:
    """What `error` says, in one line that can be encoded; its class where it says nothing, or fails to say it."""
    try:
        text = " ".join(str(error).split())[:longest]
    except Exception:  # of a plugin's own class, whose __str__ may raise anything
        text = ""
    return encodable(text) or type(error).__name__


def encodable(text: str) -> str:
    """`text` with lone surrogates, as names of files that are not UTF-8 have them, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
