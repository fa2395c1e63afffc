"""run_trial: one cell of a grid from dense network to result. Knows no process and no database."""

from __future__ import annotations

import datetime
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from prunebench import samples
from prunebench.errors import NotApplicable, PruneBenchError, encodable, said
from prunebench.grid.plan import instance, measuring
from prunebench.measure.counts import Counts, block_counts, counting_notes, counts
from prunebench.measure.environment import provenance
from prunebench.measure.heap import give_back_free, is_large
from prunebench.measure.latency.decoding import decode_latency, is_text
from prunebench.measure.latency.faults import InvalidOutput, is_lack_of_memory
from prunebench.measure.latency.latency import latency
from prunebench.measure.layers import layer_records
from prunebench.measure.memory import peak_memory_bytes
from prunebench.measure.other_layers import other_records
from prunebench.measure.runtimes.artifact import PROVIDERS
from prunebench.measure.runtimes.pair import Given
from prunebench.measure.scores import Scores, evaluate
from prunebench.measure.storage import sizes
from prunebench.plugins.code import plugins_of
from prunebench.plugins.contracts import Objective
from prunebench.randomness import seeded
from prunebench.records import (
    COUNTING_RULE,
    CurvePoint,
    Latency,
    Measurement,
    ObjectiveFacts,
    Provenance,
    Result,
    Trial,
)
from prunebench.trial.determinism import settled
from prunebench.trial.guards import Spoiled
from prunebench.trial.memory_check import require_room
from prunebench.trial.metrics import Subject, all_readings
from prunebench.trial.pruning import BrokenPromise, Pruned, pruned_network
from prunebench.trial.retraining import prepared
from prunebench.trial.training import Course, epochs_done, fit
from prunebench.trial.workbench import DenseNetwork, Progress, Workbench

DETAIL_LIMIT = 20_000
HALVED = "fine-tuned in batches of half the size, because memory did not suffice"


def open_workbench(settings: dict[str, Any], device: str, progress: Progress) -> TrialRunner:
    """What a worker process needs: settings as `executors.WorkSettings` has them, as plain data."""
    bench = Workbench(
        device=device,
        data_dir=settings["data_dir"],
        checkpoints=settings["checkpoints"],
        plugin_files=tuple(settings.get("plugin_files", ())),
        disabled_plugins=tuple(settings.get("disabled_plugins", ())),
        threads=settings.get("threads_per_slot"),
        progress=progress,
    )
    return TrialRunner(bench)


class TrialRunner:
    """Runs trials on one workbench."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    @property
    def is_spent(self) -> bool:
        """Whether a trial left this process in a state that no other trial should meet."""
        return self.bench.is_spent

    def run_trial(self, trial: Trial, batch_halved: bool = False) -> Result:
        """How the trial ended; whatever an ordinary exception says becomes a row, never a crash.

        `batch_halved` fine-tunes in batches of half the size, because memory did not suffice; the row says so.
        """
        if not batch_halved:
            return run_trial(trial, self.bench)
        result = run_trial(with_half_batches(trial), self.bench)
        measurement = result.measurement
        if measurement is not None:
            measurement = replace(measurement, notes=(*measurement.notes, HALVED))
        return replace(result, trial=trial, measurement=measurement)


def with_half_batches(trial: Trial) -> Trial:
    """The trial with half the fine-tuning batch; the dense network's recipe, and so its checkpoint, stays."""
    recipe = trial.protocol.finetune
    smaller = replace(recipe, batch_size=max(1, recipe.batch_size // 2))
    return replace(trial, protocol=replace(trial.protocol, finetune=smaller))


def run_trial(trial: Trial, bench: Workbench, on_error: Callable[[BaseException], None] = lambda error: None) -> Result:
    """How the trial ended; raises only what is no `Exception`. `on_error` is shown what it failed by, as it happens."""
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    started = time.monotonic()
    measurement, status, reason, detail = None, "ok", "", ""
    try:
        measurement = _measured(trial, bench)
    except NotApplicable as declined:
        status, reason = "skipped", said(declined) if declined.args else "the method declined without a reason"
    except (torch.OutOfMemoryError, MemoryError) as error:
        status, reason, detail = "oom", said(error), _trace()
        on_error(error)
    except (PruneBenchError, BrokenPromise, Spoiled) as error:
        status, reason = "failed", said(error)
        on_error(error)
    except Exception as error:  # the border: a method may raise anything
        status = "oom" if is_lack_of_memory(error) else "failed"
        reason, detail = f"{type(error).__name__}: {said(error)}", _trace()
        on_error(error)
    except BaseException:
        bench.discard()  # what it left undone, nobody knows
        raise
    if bench.guard.is_spoilt:
        bench.discard()
    return Result(
        trial=trial,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        detail=detail,
        measurement=measurement,
        provenance=_provenance(trial, bench),
        started_at=started_at,
        seconds=time.monotonic() - started,
    )


def _measured(trial: Trial, bench: Workbench) -> Measurement:
    loaded = f"the data set {trial.dataset.use} or the model {trial.model.use}"
    with bench.turn.working(), settled(trial.protocol.threads), bench.guard.watching(loaded):
        dense = bench.dense(trial)
        short = require_room(dense, trial.protocol.finetune, bench.device, bench.memory)
        _tidied(dense)
        bench.progress("prune", None)
        pruned = pruned_network(bench, trial, dense)
        pruned.notes += short
        _tidied(dense)
        before = _finetuned(trial, bench, dense, pruned)
        bench.progress("measure", None)
        scores = _scored(trial, bench, dense, pruned)
        _tidied(dense)
        facts = _facts(trial, bench, dense, pruned)
        facts["metrics"], declined = all_readings(
            measuring(bench.installed, trial.protocol),
            Subject(dense.model, pruned.network, dense.network),
            dense.splits.test,
            dense.objective,
            bench.device,
            trial.protocol.evaluation_limit,
        )
        pruned.notes += declined
    timings = _timings(trial, bench, dense, pruned)
    curve = (*(dense.curve if trial.method.use == "dense" else ()), *pruned.curve)
    return _measurement(scores, before, facts, timings, curve, dense, pruned)


def _tidied(dense: DenseNetwork) -> None:
    """Of a large network, what its loading, pruning or scoring has freed does not add to what comes next."""
    if is_large(dense.counts.parameter_count):
        give_back_free()


def made(trial: Trial, bench: Workbench) -> tuple[DenseNetwork, Pruned, Scores]:
    """The dense network, what the method and the fine-tuning make of it, and its scores, as the trial's row has them.

    Nothing is timed; raises what the method raises.
    """
    with bench.turn.working(), settled(trial.protocol.threads):
        dense = bench.dense(trial)
        pruned = pruned_network(bench, trial, dense)
        _finetuned(trial, bench, dense, pruned)
        return dense, pruned, _scored(trial, bench, dense, pruned)


def _scored(trial: Trial, bench: Workbench, dense: DenseNetwork, pruned: Pruned) -> Scores:
    """The pruned network on the test split; whoever waits to time something is let through between batches."""
    return evaluate(
        pruned.network,
        dense.splits.test,
        dense.objective,
        bench.device,
        limit=trial.protocol.evaluation_limit,
        breathe=bench.turn.breathe,
        footprint=dense.footprint,
    )


def _finetuned(trial: Trial, bench: Workbench, dense: DenseNetwork, pruned: Pruned) -> tuple[Scores | None, float]:
    """Fine-tune in place by the protocol; the scores before it and the seconds it took."""
    is_own = trial.method.use == "dense" or any(method.trains for method in pruned.methods)
    is_none = trial.protocol.retraining == "finetune" and not trial.protocol.finetune.trains
    if is_own or is_none:
        return None, 0.0
    before = _scored(trial, bench, dense, pruned)

    def then(steps: int) -> Mapping[str, Any]:
        state: Mapping[str, Any] = bench.memory.get(("rewound", steps), lambda: dense.initial(steps))[0]
        return state

    asked = prepared(pruned.network, dense, trial.protocol, trial.seed + 1, then)
    pruned.notes += filter(None, [asked.note])
    done = epochs_done(asked.recipe, len(dense.splits.train))
    started = time.monotonic()
    bench.progress("finetune", 0.0)
    with seeded(trial.seed + 1, bench.device):  # dropout draws from torch's own generator
        pruned.curve += fit(
            pruned.network,
            dense.splits.train,
            dense.splits.validation,
            asked.recipe,
            objective=dense.objective,
            generator=torch.Generator().manual_seed(trial.seed + 1),
            course=Course(
                bench.device,
                "finetune",
                keep_zeros=True,
                teacher=dense.network,
                first_epoch=asked.first_epoch,
                breathe=bench.turn.breathe,
                on_epoch=lambda epoch: bench.progress("finetune", done(epoch)),
            ),
        )
    return before, time.monotonic() - started


def _facts(trial: Trial, bench: Workbench, dense: DenseNetwork, pruned: Pruned) -> dict[str, Any]:
    """Counts, sizes, layers and memory of the finished network."""
    example = dense.example
    after = counts(pruned.network, example, dense=dense.network)
    pruned.notes += counting_notes(pruned.network, after, example)
    if not after.parameter_count:
        raise InvalidOutput("the network has no parameters: there is nothing to compare with the dense one")
    formats: dict[str, int] = {}
    for method in pruned.methods:
        formats.update(method.storage(pruned.network))
    stored_bytes, gzip_bytes, storage = sizes(pruned.network, formats)
    _tidied(dense)
    few = samples.rows(dense.calibration, slice(64))
    records = layer_records(dense.network, pruned.network, pruned.layer_notes, few, dense.shapes)
    listed = [shape.name for shape in dense.shapes]
    records += tuple(other_records(dense.network, pruned.network, listed, pruned.layer_notes))
    _tidied(dense)
    blocks = block_counts(dense.anatomy(dense.network), pruned.network, dense.network) or (None, None)
    return {
        "block_parameter_count": blocks[0],
        "block_nonzero_parameter_count": blocks[1],
        "parameter_count": after.parameter_count,
        "nonzero_parameter_count": after.nonzero_parameter_count,
        "mac_count": after.mac_count,
        "counting_rule": COUNTING_RULE,
        "stored_bytes": stored_bytes,
        "gzip_bytes": gzip_bytes,
        "storage": storage,
        "layers": records,
        "peak_memory_bytes": peak_memory_bytes(pruned.network, example, bench.device),
        "realised": _is_realised(trial, dense.counts, after),
    }


def _is_realised(trial: Trial, dense: Counts, after: Counts) -> bool:
    """False for a network with zeros that stores and computes all that the dense one does."""
    is_same_size = after.parameter_count == dense.parameter_count and after.mac_count == dense.mac_count
    return not (is_same_size and after.nonzero_parameter_count < dense.nonzero_parameter_count)


def _timings(trial: Trial, bench: Workbench, dense: DenseNetwork, pruned: Pruned) -> tuple[Latency, ...]:
    if not trial.protocol.latency.batch:
        return ()
    protocol, notes = trial.protocol.latency, list[str]()
    with bench.guard.watching(f"the network that {trial.method.use} made"), bench.turn.timing():
        bench.progress("time", None)
        sides = _timed_sides(trial, dense, pruned)
        found = latency(*sides, dense.calibration, protocol, bench.device, trial.seed, notes.append)
        if is_text(dense.calibration):
            length = dense.calibration.shape[1]
            found = tuple(replace(one, mode="prefill", token_count=length) for one in found)
        if protocol.decode:
            found += _decoded(trial, bench, dense, pruned, sides[1].network)
    pruned.notes += notes
    return found


def _timed_sides(trial: Trial, dense: DenseNetwork, pruned: Pruned) -> tuple[Given, Given]:
    """What is timed: the dense network against its own copy, or against what the method says a runtime is given."""
    own = Given(dense.network, dense.network)
    if trial.protocol.latency.runtime not in PROVIDERS:
        return own, Given(pruned.network, pruned.network)
    if trial.method.use == "dense":
        return own, own
    network, quantizer = pruned.methods[-1].exported(pruned.network) if pruned.methods else (pruned.network, "")
    return own, Given(pruned.network, network, quantizer, dense.calibration)


def _decoded(
    trial: Trial, bench: Workbench, dense: DenseNetwork, pruned: Pruned, other: nn.Module
) -> tuple[Latency, ...]:
    """One more token behind a cache; a network that cannot be asked so has no such row, and a note says why."""
    asked, tokens = trial.protocol.latency, dense.calibration
    try:
        return decode_latency(dense.network, other, tokens, dense.decoding, asked, bench.device, trial.seed)
    except NotApplicable as reason:
        pruned.notes.append(f"decoding is not timed: {said(reason)}")
        return ()


def _measurement(
    scores: Scores,
    before: tuple[Scores | None, float],
    facts: dict[str, Any],
    timings: tuple[Latency, ...],
    curve: tuple[CurvePoint, ...],
    dense: DenseNetwork,
    pruned: Pruned,
) -> Measurement:
    return Measurement(
        test_count=scores.test_count,
        top1_accuracy=scores.top1_accuracy,
        top5_accuracy=scores.top5_accuracy,
        loss=scores.loss,
        correct=scores.correct,
        top1_accuracy_before_finetune=before[0].top1_accuracy if before[0] else None,
        score_before_finetune=before[0].score if before[0] else None,
        prune_seconds=pruned.prune_seconds,
        finetune_seconds=before[1],
        train_seconds=dense.train_seconds,
        latency=timings,
        curve=curve,
        stages=tuple(pruned.stages),
        achieved=pruned.achieved,
        solved=pruned.solved,
        notes=tuple(dict.fromkeys((*pruned.notes, *dense.remarks))),
        objective=facts_of(dense.objective, dense.floors),
        score=scores.score,
        scores=dict(scores.numbers),
        values=scores.values,
        weights=scores.weights,
        **facts,
    )


def facts_of(objective: Objective, floors: Mapping[str, float]) -> ObjectiveFacts:
    """What travels with each result."""
    return ObjectiveFacts(
        objective.name,
        objective.score,
        objective.title or objective.score.replace("_", " "),
        objective.units[objective.score],
        objective.larger_is_better,
        objective.compared,
        objective.near,
        objective.paired,
        {name: float(value) for name, value in floors.items()},
    )


def _provenance(trial: Trial, bench: Workbench) -> Provenance:
    dense = bench._dense
    is_known = dense is not None and dense.network_id == trial.network_id
    return provenance(
        str(bench.device),
        trial.protocol.threads,
        dense_hash=dense.sha256 if is_known and dense else "",
        dataset_fingerprint=dense.splits.fingerprint if is_known and dense else "",
        plugins=_sources(trial, bench),
        code=bench.codes.of_trial(trial),
        data=dense.facts if is_known and dense else {},
    )


def _sources(trial: Trial, bench: Workbench) -> dict[str, str]:
    named = plugins_of(trial)
    objective = str(instance(bench.installed, "dataset", trial.dataset).objective)
    if objective in bench.installed.of_kind("objective"):
        named.append(("objective", objective))
    return {f"{kind}:{name}": bench.installed.find(kind, name).source for kind, name in named}


def _trace() -> str:
    return encodable(traceback.format_exc()[-DETAIL_LIMIT:])
