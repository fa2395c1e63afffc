"""What a journal's line holds, by the records that were written into it: how SQL reads it, and what it must not lack.

A line whose checksum is right may still not be a result of ours, and may be older or younger than this version: what a
line lacks is read as null, what this version does not know is passed over.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from prunebench.records import ObjectiveFacts, Protocol, Result, Run, Trial
from prunebench.store.keys import Keys

PLAIN = {str: "VARCHAR", float: "DOUBLE", bool: "BOOLEAN", int: "BIGINT"}
WHOLE = (Protocol, ObjectiveFacts)  # kept as the JSON that they are
SHORT = ("attempt", "batch", "calls_per_block", "core_count", "counting_rule", "epoch", "position", "threads")
SHORT_LISTS = ("round_index",)  # and SHORT: integers of 32 bits in the tables


def shape_of(kind: Any, above: tuple[Any, ...] = ()) -> Any:
    """The type `kind` as DuckDB's `from_json` wants it: a table of names for a record, JSON for what stays whole."""
    if isinstance(kind, type) and is_dataclass(kind):
        if kind in WHOLE or kind in above:
            return "JSON"
        hints = get_type_hints(kind)
        return {item.name: _narrowed(item.name, shape_of(hints[item.name], (*above, kind))) for item in fields(kind)}
    arguments = [argument for argument in get_args(kind) if argument not in (type(None), ...)]
    if get_origin(kind) in (Union, UnionType) and len(arguments) == 1:
        return shape_of(arguments[0], above)
    if get_origin(kind) is Literal:
        return "VARCHAR"
    if get_origin(kind) is tuple:
        inner = shape_of(arguments[0], above)
        return "JSON" if inner == "JSON" else [inner]
    return PLAIN.get(kind, "JSON")


def _narrowed(name: str, shape: Any) -> Any:
    if name in SHORT:
        return "INTEGER"
    return ["INTEGER"] if name in SHORT_LISTS else shape


@dataclass(frozen=True)
class Line:
    """The record of a line of the kind "result"."""

    keys: Keys
    result: Result


RESULT_SHAPE, RUN_SHAPE = shape_of(Line), shape_of(Run)


def _must_hold(kind: type, names: tuple[str, ...], **inside: Any) -> Any:
    """A type for the fields `names` of a record, the only ones that are looked at.

    A record in a field may be any table where `inside` does not say more, and a word any word: other versions have
    other ones.
    """
    hints = get_type_hints(kind)
    found: list[Any] = []
    for item in fields(kind):
        if item.name in names:
            pair = (item.name, inside.get(item.name, _loosely(hints[item.name])))
            is_record = isinstance(hints[item.name], type) and is_dataclass(hints[item.name])
            found.append(pair if item.default is MISSING or is_record else (*pair, item.default))
    return msgspec.defstruct(kind.__name__, found)


def _loosely(kind: Any) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        return dict[str, Any]
    return str if get_origin(kind) is Literal else kind


_TRIAL = _must_hold(Trial, ("dataset", "model", "method", "seed", "protocol"))
_RESULT = _must_hold(Result, ("trial", "status", "provenance", "attempt"), trial=_TRIAL)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "result": msgspec.json.Decoder(msgspec.defstruct("Line", [("keys", Keys), ("result", _RESULT)])),
    "run": msgspec.json.Decoder(_must_hold(Run, ("id", "name", "trial_ids"))),
}


def fault_of(kind: str, body: str) -> str:
    """Why the body cannot be filed as its kind, empty where it can; kinds of other versions are let through."""
    try:
        if kind in _DECODERS:
            _DECODERS[kind].decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"no {kind} that can be filed: {str(error)[:200]}"
    return ""
