"""What a journal's line must hold to be filed: a line whose checksum is right may still not be a result of ours."""

from __future__ import annotations

from typing import Any

import msgspec


class _ChoiceKeys(msgspec.Struct):
    hash: str
    name: str
    label: str
    setting: str
    parameters: dict[str, Any]


class _Keys(msgspec.Struct):
    run_id: str
    trial_id: str
    dense_id: str
    network_id: str
    protocol_id: str
    environment_id: str
    provenance_id: str
    dataset: _ChoiceKeys
    model: _ChoiceKeys
    method: _ChoiceKeys
    is_dense: bool


class _Trial(msgspec.Struct):
    dataset: dict[str, Any]
    model: dict[str, Any]
    method: dict[str, Any]
    seed: int
    protocol: dict[str, Any]


class _Outcome(msgspec.Struct):
    trial: _Trial
    status: str
    provenance: dict[str, Any]
    attempt: int = 1


class _Filed(msgspec.Struct):
    keys: _Keys
    result: _Outcome


class _Run(msgspec.Struct):
    id: str
    name: str
    trial_ids: list[str] = []


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "result": msgspec.json.Decoder(_Filed),
    "run": msgspec.json.Decoder(_Run),
}


def fault_of(kind: str, body: str) -> str:
    """Why the body cannot be filed as its kind, empty where it can; kinds of other versions are let through."""
    try:
        if kind in _DECODERS:
            _DECODERS[kind].decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"no {kind} that can be filed: {str(error)[:200]}"
    return ""
