"""A result on its way home: valid by its schema and within its size, or a failed result that names what was not."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from prunebench.engine.worker.messages import Report
from prunebench.records import Result, Trial, decode, encode
from prunebench.writing import fits_in_64_bits

MAX_RESULT_BYTES = 64 * 2**20
LONG_NUMBER = re.compile(rb"[\[:,]-?\d{19,}[,\]}]")
UNENCODABLE = (TypeError, ValueError, RecursionError, OverflowError, AttributeError)  # what msgspec raises


def encoded(result: Result, is_spent: bool = False) -> bytes:
    """The report of `result` as a line; `is_spent` asks for another worker."""
    try:
        line = encode(Report("result", result=result, is_spent=is_spent))
        if len(line) > MAX_RESULT_BYTES:
            raise ValueError(f"{len(line) / 2**20:.0f} MB is over the limit of {MAX_RESULT_BYTES / 2**20:.0f} MB")
        read = decode(line, Report)
        if LONG_NUMBER.search(line) and (what := oversized(read.result)):
            raise ValueError(what)
        if what := unmeasured(read.result):
            raise ValueError(what)
    except UNENCODABLE as error:
        bad = invalid(result.trial, unencodable(result) or complaint(error))
        return encode(Report("result", result=dataclasses.replace(bad, attempt=result.attempt), is_spent=is_spent))
    return line


def unmeasured(result: Result | None) -> str:
    """The number that an ok result has to have and has not: JSON writes null for what is not finite."""
    found = result.measurement if result is not None and result.status == "ok" else None
    if found is None:
        return ""
    is_classification = found.objective is None or found.objective.name == "classification"
    needed = ("loss", "top1_accuracy") if is_classification else ("score",)
    return next(
        (f"measurement.{name}: Expected `float`, got `null`" for name in needed if getattr(found, name) is None), ""
    )


def invalid(trial: Trial, what: str) -> Result:
    """The row of a trial whose result cannot be kept."""
    return Result(trial, "failed", f"invalid result: {what[:500]}")


def complaint(error: Exception) -> str:
    """`measurement.loss: Expected `float`, got `null``, where msgspec puts the field last."""
    text, _, path = str(error).partition(" - at `$.result")
    return f"{path.strip('`.')}: {text}" if path.strip("`.") else text


def oversized(value: Any, path: str = "") -> str:
    """The first whole number under `value` that the database's 64 bits cannot hold; empty where all of them fit."""
    if isinstance(value, int) and not fits_in_64_bits(value):
        return f"{path}: {str(value)[:30]} does not fit in 64 bits"
    inside: list[tuple[object, Any]]
    if dataclasses.is_dataclass(value):
        inside = [(item.name, getattr(value, item.name)) for item in dataclasses.fields(value)]
    elif isinstance(value, dict):
        inside = list(value.items())
    else:
        inside = list(enumerate(value)) if isinstance(value, list | tuple) else []
    return next(filter(None, (oversized(inner, f"{path}.{name}".strip(".")) for name, inner in inside)), "")


def unencodable(record: Any, path: str = "") -> str:
    """The first field under `record` that JSON cannot hold, and why; empty where every field can be encoded."""
    for item in dataclasses.fields(record):
        value, name = getattr(record, item.name), f"{path}{item.name}"
        if dataclasses.is_dataclass(value) and (inner := unencodable(value, f"{name}.")):
            return inner
        try:
            encode(value)
        except UNENCODABLE as error:
            return f"{name}: {error}"
    return ""
