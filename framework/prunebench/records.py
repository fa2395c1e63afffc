"""Trials and results as frozen, plain data; torch is not imported.

A `Trial` is one cell of a grid; its `id` is a content hash of everything that decides its result. A `Result` is the
row that every planned trial ends as. Both travel as JSON (`encode`, `decode`) between worker, journal and database.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import msgspec

from prunebench.recipe import Recipe as Recipe

Scalar = bool | int | float | str
Value = Scalar | list[Any] | dict[str, Any] | None
Status = Literal["ok", "skipped", "failed", "timeout", "killed", "oom"]
T = TypeVar("T")
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}
_MAKING = threading.Lock()

COUNTING_RULE = 2  # how MACs are counted; rule 1 was torch's own counter, which gave fused attention and others none

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of runs, grids and plugins


def encode(record: object) -> bytes:
    """`record` as one line of canonical JSON: keys sorted, numbers that are not finite as null."""
    return msgspec.json.encode(record, order="sorted")


def decode(line: bytes | str, kind: type[T]) -> T:
    """The record of type `kind` that `line` holds; raises `msgspec.ValidationError` naming the field."""
    return decoder_of(kind).decode(line)


def converted(values: object, kind: type[T]) -> T:
    """The record of type `kind` with the plain `values`; raises `msgspec.ValidationError` naming the field."""
    decoder_of(kind)
    return msgspec.convert(values, kind)


def decoder_of(kind: type[T]) -> msgspec.json.Decoder[T]:
    """What decodes `kind`, made once.

    msgspec notes on a class what it has found out of it, before it is done: two threads that ask for the first time
    end the process with a segmentation fault.
    """
    if kind not in _DECODERS:
        with _MAKING:
            _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    return _DECODERS[kind]


def short_hash(text: bytes | str) -> str:
    """The first 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


@dataclass(frozen=True)
class Choice:
    """A plugin's name with its complete parameters, so that a changed default is a new trial.

    `target` asks for a result instead of a method's own field (`{"compression": 4}`); `stages` makes a pipeline of
    methods (`use` is then "pipeline"); `code` is the hash of a plugin loaded from a file, empty for installed ones.
    `shown` names the parameters that a label shows; the plan chooses them, and they do not change the id.
    """

    use: str
    params: dict[str, Value] = field(default_factory=dict)
    target: dict[str, float] = field(default_factory=dict)
    stages: tuple[Choice, ...] = ()
    code: str = ""
    shown: tuple[str, ...] | None = None  # None shows all

    @cached_property
    def text(self) -> str:
        """Canonical JSON: equal for equal choices, whatever the order of keys was."""
        stages = [stage.text for stage in self.stages]
        return encode([self.use, self.params, self.target, stages, self.code]).decode()

    @property
    def plain(self) -> dict[str, Any]:
        """What decides a result: the name, the parameters, and the code where there is one; no pipeline, no target."""
        return {"use": self.use, "params": self.params, **({"code": self.code} if self.code else {})}

    @property  # labels and dense ids are not kept: a long run would grow by them with every trial that ends
    def label(self) -> str:
        """The choice as charts and tables show it: `low_rank(rank=10)`, `svd(keep=0.2) > kmeans(clusters=32)`."""
        if self.stages:
            return " > ".join(stage.label for stage in self.stages)
        return f"{self.use}({self.setting})" if self.setting else self.use

    @property
    def setting(self) -> str:
        """What the label has in brackets: `rank=10`."""
        params = {name: value for name, value in self.params.items() if self.shown is None or name in self.shown}
        parts = {**params, **self.target}
        return ", ".join(f"{name}={value}" for name, value in parts.items() if value is not None)


Runtime = Literal["torch", "torch_compile", "torch_export", "onnxruntime", "openvino", "executorch"]


@dataclass(frozen=True)
class LatencyProtocol:
    """How the pruned network is timed against the dense one; without batch sizes nothing is timed."""

    batch: tuple[int, ...] = (1, 64)
    threads: int = 1
    rounds: int = 1  # fresh processes; 5 for a careful measurement
    groups: int = 20  # ABBA or BAAB groups per round, at least
    max_seconds: float = 3.0  # for one batch size, warm-up included
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    memory_format: Literal["contiguous", "channels_last", "fastest"] = "contiguous"
    compile: bool = False
    in_place: bool = False  # activations overwrite their input wherever the output stays the same
    decode: int = 0  # language models: tokens in the cache when one more token is timed as well; 0: it is not
    runtime: Runtime = "torch"  # runs both networks
    dynamic_batch: bool = False  # export both networks for any batch size


Retraining = Literal["finetune", "rewind_weights", "rewind_lr", "scratch_epochs", "scratch_compute"]


@dataclass(frozen=True)
class Protocol:
    """How every trial of a grid is trained, fine-tuned and measured; part of a trial's identity."""

    train: Recipe = Recipe(epochs=10)
    finetune: Recipe = Recipe(epochs=0)
    latency: LatencyProtocol = LatencyProtocol()
    calibration: int = 1024  # training samples a data-aware method is given
    evaluation_limit: int = 0  # test samples, 0 for all of them
    metrics: tuple[str | Choice, ...] = ()  # metric plugins that measure more: by name, or with settings
    threads: int = 1  # of torch while a network is trained, pruned and scored; with others, sums are rounded otherwise
    retraining: Retraining = "finetune"  # what the epochs of `finetune` are spent on

    @cached_property
    def text(self) -> str:
        """Canonical JSON. A key that was added later is left out at its default, so that older ids stay valid."""
        table = msgspec.to_builtins(self)
        table["metrics"] = [one if isinstance(one, str) else one.plain for one in self.metrics]
        if not self.metrics:
            table.pop("metrics", None)  # msgspec does not write what it has not read
        for key, usual in (("in_place", False), ("decode", 0), ("runtime", "torch"), ("dynamic_batch", False)):
            if getattr(self.latency, key) == usual:
                table["latency"].pop(key, None)
        table["train"], table["finetune"] = self.train.table, self.finetune.table
        for key, usual in (("threads", 1), ("retraining", "finetune")):
            if getattr(self, key) == usual:
                table.pop(key, None)
        return encode(table).decode()

    @cached_property
    def id(self) -> str:
        """Content hash of `text`."""
        return short_hash(self.text)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The plugins of `metrics`."""
        return tuple(one if isinstance(one, str) else one.use for one in self.metrics)


@dataclass(frozen=True)
class Trial:
    """One cell of a grid."""

    dataset: Choice
    model: Choice
    method: Choice
    seed: int
    protocol: Protocol

    @cached_property
    def id(self) -> str:
        """Content hash of everything that decides the result; the same on every machine."""
        return self._id_with(self.method)

    @property
    def dense_id(self) -> str:
        """The id of the unpruned trial that this one is compared with."""
        return self._id_with(DENSE)

    @cached_property
    def network_id(self) -> str:
        """Content hash of what decides the dense network's weights; its checkpoint has this name."""
        recipe = self.protocol.train.text
        if self.protocol.threads != 1:  # at 1 the text is what it was before the key existed
            recipe += f"\nthreads {self.protocol.threads}"
        return short_hash(f"{self.dataset.text}\n{self.model.text}\n{self.seed}\n{recipe}")

    def _id_with(self, method: Choice) -> str:
        text = f"{self.dataset.text}\n{self.model.text}\n{method.text}\n{self.seed}\n{self.protocol.text}"
        return short_hash(text)


DENSE = Choice("dense")


@dataclass(frozen=True)
class LayerRecord:
    """One layer: its counts before and after pruning, its errors, and why it was left alone where it was."""

    name: str
    kind: str  # "linear", "conv2d" or the class's name
    shape_before: tuple[int, ...] = ()  # of the weight, in PyTorch's order
    shape_after: tuple[tuple[int, ...], ...] = ()  # of the weights that replace it
    rank: int | None = None
    parameter_count_before: int | None = None
    parameter_count_after: int | None = None
    nonzero_parameter_count_after: int | None = None
    mac_count_before: int | None = None
    mac_count_after: int | None = None
    weight_error: float | None = None  # relative, Frobenius
    output_error: float | None = None  # relative, Frobenius, over a calibration batch
    left_alone: str = ""  # the reason, empty when the layer was changed


@dataclass(frozen=True)
class Latency:
    """One batch size: raw block times of both networks in milliseconds per call, and the statistics of them."""

    batch: int
    threads: int
    device: str
    dtype: str
    memory_format: str
    compile: bool
    clock: Literal["cpu", "wall", "cuda"]  # the headline's: thread CPU time, wall time, CUDA events
    calls_per_block: int
    dense_ms: tuple[float, ...]  # one entry per block, headline clock
    pruned_ms: tuple[float, ...]
    dense_wall_ms: tuple[float, ...]
    pruned_wall_ms: tuple[float, ...]
    round_index: tuple[int, ...]  # the round, on fresh copies or in a fresh process, that each block was timed in
    cold_dense_ms: float  # the first call ever
    cold_pruned_ms: float
    speedup: float  # exp(mean over rounds of log(dense / pruned)), each from the faster half of its blocks
    speedup_low: float  # 95 % interval
    speedup_high: float
    latency_ms: float  # of the pruned network: median of the blocks
    latency_p90_ms: float
    latency_p99_ms: float | None  # only with enough samples
    dense_latency_ms: float
    throughput: float  # samples a second, pruned
    contention: float  # share of the blocks' wall time in which others had the processor; 0 where it has no meaning
    seconds: float  # how long the measurement took
    stopped: str  # "precision", "groups" or "time"
    flags: tuple[str, ...] = ()  # warnings for a reader: "contended", "launch-bound", "throttled", ...
    conditions: dict[str, Any] = field(default_factory=dict)  # load average, steal, clocks, temperature
    mode: Literal["forward", "prefill", "decode"] = (
        "forward"  # prefill: a whole window; decode: one token after a cache
    )
    token_count: int | None = None  # tokens of a sample that one call reads
    context: int | None = None  # decode: tokens that the cache holds
    cache_bytes: int | None = None  # decode: size of the pruned network's cache, for the whole batch
    dense_cache_bytes: int | None = None


@dataclass(frozen=True)
class CurvePoint:
    """One epoch of training or fine-tuning."""

    phase: Literal["train", "finetune"]
    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float | None  # of classification only
    seconds: float
    validation_score: float | None = None  # the objective's headline


@dataclass(frozen=True)
class StageRecord:
    """The network after one stage of a pipeline: its sizes and its score on the validation split."""

    position: int
    method: str
    parameter_count: int
    nonzero_parameter_count: int
    mac_count: int | None
    validation_accuracy: float | None
    prune_seconds: float
    stored_bytes: int | None = None
    validation_score: float | None = None


@dataclass(frozen=True)
class ObjectiveFacts:
    """What a result keeps of its objective, so that it can be read where the plugin is not installed."""

    name: str
    score: str  # the headline's name
    title: str
    unit: str
    larger_is_better: bool = True
    compared: Literal["difference", "ratio"] = "difference"
    near: tuple[float, float] = (0.01, 0.05)
    paired: Literal["bits", "values", "none"] = "bits"
    floors: dict[str, float] = field(
        default_factory=dict
    )  # headline scores that need no network, by name: chance, majority


@dataclass(frozen=True)
class Metric:
    """A named number that a metric plugin measured."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Measurement:
    """The raw measurements of one network. Accuracies are fractions in [0, 1]; only classification has them."""

    test_count: int
    top1_accuracy: float | None
    top5_accuracy: float | None  # with more than five classes
    loss: float | None  # mean over the test samples, where the objective has one
    correct: str  # base64 of a bitmap, one bit per test sample, first sample in the highest bit
    top1_accuracy_before_finetune: float | None
    parameter_count: int
    nonzero_parameter_count: int
    mac_count: int | None
    stored_bytes: int  # as the method stores it
    gzip_bytes: int
    prune_seconds: float
    finetune_seconds: float
    train_seconds: float  # of the dense network, once
    peak_memory_bytes: int | None
    realised: bool  # false for a masked network that computes as the dense one does
    storage: dict[str, int] = field(default_factory=dict)  # bytes by format: dense, csr, codebook, huffman
    latency: tuple[Latency, ...] = ()
    layers: tuple[LayerRecord, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    metrics: tuple[Metric, ...] = ()
    achieved: dict[str, float] = field(default_factory=dict)  # for a target: what came out, beside what was asked
    solved: dict[str, Value] = field(default_factory=dict)  # for a target: the method's own field, as solved
    notes: tuple[str, ...] = ()  # what the method says beside its numbers
    counting_rule: int = 1  # `COUNTING_RULE` when `mac_count` was counted; old lines lack it
    objective: ObjectiveFacts | None = None  # None in results from before there were objectives: classification
    score: float | None = None  # the objective's headline; of those, top1_accuracy
    score_before_finetune: float | None = None
    scores: dict[str, float] = field(default_factory=dict)  # all the objective's numbers
    values: str = ""  # base64 of float32, one loss per test sample, where the objective compares by values
    weights: str = ""  # base64 of float32, the weight of each, as its tokens; empty where all are 1
    block_parameter_count: int | None = None  # of the layers in the network's blocks, where those are known
    block_nonzero_parameter_count: int | None = None


@dataclass(frozen=True)
class Provenance:
    """The code, the libraries and the machine that a result was made with."""

    prunebench: str = ""
    python: str = ""
    torch: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)  # plugin name -> "distribution version" or "file sha256"
    git_commit: str = ""
    host: str = ""
    os: str = ""
    cpu: str = ""
    core_count: int = 0
    memory_bytes: int = 0
    device: str = ""  # "cpu", "cuda:0"
    gpu: str = ""
    driver: str = ""
    threads: int = 0
    load_average: float | None = None
    dense_hash: str = ""  # sha256 of the dense network's weights
    dataset_fingerprint: str = ""
    data: dict[str, Value] = field(default_factory=dict)  # what two numbers must share to be compared: `Splits.facts`
    code: dict[str, str] = field(default_factory=dict)  # "kind:name" -> "editable sha256", "distribution version"

    @cached_property
    def environment_id(self) -> str:
        """Content hash of the machine and the libraries; speedups are compared only where it is the same."""
        kind = self.device.split(":")[0]
        facts = (self.python, self.torch, self.host, self.os, self.cpu, self.core_count, kind, self.gpu, self.driver)
        return short_hash(encode(facts))


@dataclass(frozen=True)
class Result:
    """How a planned trial ended. Each one ends as such a row, whatever happens."""

    trial: Trial
    status: Status
    reason: str = ""  # why it was skipped or failed, empty for ok
    detail: str = ""  # the traceback, for whoever wants it
    measurement: Measurement | None = None
    provenance: Provenance = Provenance()
    started_at: str = ""  # UTC, ISO 8601
    seconds: float = 0.0  # by a monotonic clock
    attempt: int = 1


@dataclass(frozen=True)
class Run:
    """One call of `bench run`: its grid, its command, and the ids of its trials."""

    id: str
    name: str  # the grid's
    started_at: str  # UTC, ISO 8601
    grid: str = ""  # the TOML text
    scale: str = ""  # "offline" or "full" for a paper's grid, else empty
    command: str = ""
    trial_count: int = 0
    trial_ids: tuple[str, ...] = ()  # all that the grid asks for, those of earlier runs included
    claims: tuple[dict[str, str], ...] = ()  # text and sql
    options: Mapping[str, Any] = field(default_factory=dict)
