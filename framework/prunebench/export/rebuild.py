"""The network of a row made again, and held to what the row says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from prunebench.errors import CheckpointError, PluginError, PruneBenchError, said
from prunebench.export.rows import Row, row_of
from prunebench.export.save import require_suffix, save, versions
from prunebench.records import Trial
from prunebench.trial.runner import made, run_trial
from prunebench.trial.workbench import Workbench

EXACT = ("parameter_count", "nonzero_parameter_count", "mac_count", "stored_bytes", "test_count", "dense_hash")
SCORES = ("top1_accuracy", "loss")
NEAR = 1e-4  # relative: what another machine's sums may differ by
CHECKED_ROWS = 32  # samples on which the file and the network are compared


def save_trial(row: Row, bench: Workbench, path: Path, memory: bool = False) -> dict[str, Any]:
    """Make the row's network again, hold it to the row, write it to `path`; returns the card, as `save` does."""
    require_suffix(path)
    require_checkpoint(row.trial, bench)
    try:
        dense, pruned, scores = made(row.trial, bench)
    except PruneBenchError:
        raise
    except Exception as error:  # the border: a method may raise anything
        raise PruneBenchError(f"the network cannot be rebuilt: {type(error).__name__}: {said(error)}") from None
    now = {"dense_hash": dense.sha256, "test_count": scores.test_count}
    now |= {"top1_accuracy": scores.top1_accuracy, "loss": scores.loss}
    now["parameter_count"] = sum(parameter.numel() for parameter in pruned.network.parameters())
    if found := differences(row.facts, now):
        raise CheckpointError(f"the rebuilt network differs from the row's; nothing is saved: {'; '.join(found)}")
    inputs, _ = dense.splits.test.head(CHECKED_ROWS)
    return save(pruned.network, inputs, path, facts(row, now), memory)


def facts(row: Row, now: dict[str, Any]) -> dict[str, Any]:
    """The card's part that the row decides."""
    trial = row.trial
    return {
        "trial": trial.id,
        "dataset": trial.dataset.label,
        "model": trial.model.label,
        "method": trial.method.label,
        "seed": trial.seed,
        "recipe": msgspec.to_builtins(trial),
        "measured": {name: row.facts[name] for name in (*EXACT, *SCORES)},
        "made_again": now,
        "versions": versions(),
        "plugins": row.facts["plugins"],
        "licence": "that of the model's weights and of the data it was trained on; prunebench adds none",
    }


def require_checkpoint(trial: Trial, bench: Workbench) -> None:
    """Raise where the dense network would have to be trained, or built by what is not installed."""
    try:
        model = bench.installed.find("model", trial.model.use)
        pretrained = model.cls(**trial.model.params).pretrained
    except PluginError as error:
        raise PluginError(f"{error}; a row of prunebench.compare is saved by what compare returned: .save()") from None
    except TypeError as error:
        raise PluginError(f"model {trial.model.use} does not take the row's settings: {said(error)}") from None
    if not pretrained and bench.checkpoints.read(trial.network_id) is None:
        raise CheckpointError(
            f"no checkpoint {trial.network_id}.safetensors in {bench.checkpoints.folder}: run the grid again, or bring "
            "the folder from the machine that made the row"
        )


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not the same, each in words; numbers that either side lacks say nothing."""
    found = []
    for name in (*EXACT, *SCORES):
        a, b = then.get(name), now.get(name)
        if a is None or b is None or a == b:
            continue
        if name in SCORES and abs(a - b) <= NEAR * max(abs(a), abs(b)):
            continue
        found.append(f"{name} was {_short(a)}, is {_short(b)}")
    return found


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else f"{value:.8g}"


def repeated(row: Row, bench: Workbench) -> tuple[dict[str, Any], list[str]]:
    """The row's trial run again without timing: its numbers now, and what differs from the row, exactly."""
    quiet = replace(row.trial.protocol, latency=replace(row.trial.protocol.latency, batch=()))
    result = run_trial(replace(row.trial, protocol=quiet), bench)
    if result.measurement is None:
        return {}, [f"status was ok, is {result.status}: {result.reason}"]
    measured = result.measurement
    now = {name: getattr(measured, name) for name in (*EXACT[:-1], *SCORES)}
    now["dense_hash"] = result.provenance.dense_hash
    then = row.facts
    changed = [name for name in now if then[name] is not None and then[name] != now[name]]
    return now, [f"{name} was {_short(then[name])}, is {_short(now[name])}" for name in changed]


__all__ = ["differences", "repeated", "row_of", "save_trial"]
