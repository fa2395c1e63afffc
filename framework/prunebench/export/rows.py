"""A stored row as the trial that it answers, and what it says that a network made again can be held to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.errors import StoreError
from prunebench.records import Choice, Protocol, Trial, converted
from prunebench.store import open_results
from prunebench.store.lookup import trial_of

_PARTS = "n := {0}.name, p := {0}.params, t := {0}.target, s := {0}.stages, c := {0}.code"
_CHOICE = f"cast(to_json(struct_pack({_PARTS})) as varchar)"  # as text: how a struct comes out is the store's affair
_SQL = f"""
    select {_CHOICE.format("d")} as dataset, {_CHOICE.format("m")} as model, {_CHOICE.format("a")} as method,
        r.seed, protocol.settings, r.status, r.reason, r.dense_hash, r.test_count, r.top1_accuracy, r.loss,
        r.parameter_count, r.nonzero_parameter_count, r.mac_count, r.stored_bytes, e.python, e.torch, e.cpu,
        v.prunebench, v.plugins, v.dataset_fingerprint
    from result as r
    join choice as d on d.id = r.dataset join choice as m on m.id = r.model join choice as a on a.id = r.method
    join protocol on protocol.id = r.protocol
    join environment as e on e.id = r.environment join provenance as v on v.id = r.provenance
    where r.trial_id = ? and r.status = 'ok' and r.id not in (select result from superseded)
    order by r.started_at desc limit 1
"""


@dataclass(frozen=True)
class Row:
    """A trial and its best stored result."""

    trial: Trial
    facts: dict[str, Any]  # as the columns of `result`, `environment` and `provenance` are called


def row_of(db: Path, text: str) -> Row:
    """The row whose trial id is or begins with `text`; raises `PruneBenchError` where none ended ok."""
    trial_id = trial_of(db, text)
    with open_results(db) as results:
        rows = results.query(_SQL, [trial_id]).to_dicts()
    if not rows:
        raise StoreError(f"trial {trial_id} has no result that ended ok: bench show {trial_id} says how it ended")
    row = rows[0]
    dataset, model, method = (_choice(row.pop(name)) for name in ("dataset", "model", "method"))
    protocol = converted(json.loads(row.pop("settings")), Protocol)
    trial = Trial(dataset, model, method, row.pop("seed"), protocol)
    if trial.id != trial_id:
        raise StoreError(f"trial {trial_id} was stored by a prunebench that names settings otherwise: {trial.id} now")
    return Row(trial, row)


def _choice(text: str) -> Choice:
    stored = json.loads(text)
    params, target, stages = (stored[key] or {} for key in ("p", "t", "s"))
    inner = tuple(converted(stage, Choice) for stage in stages or ())
    return Choice(stored["n"], params, target, inner, stored["c"])
