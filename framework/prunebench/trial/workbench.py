"""What a worker keeps warm between trials: plugins, data sets on the device, the dense network, shared work."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.anatomy import Anatomy
from prunebench.errors import DataError, NotApplicable, PluginError
from prunebench.grid.plan import instance, require_planned_code
from prunebench.measure.counts import Counts, counts, layer_shapes
from prunebench.measure.heap import is_large, share_heaps
from prunebench.measure.latency.turn import Turn
from prunebench.measure.memory import free_and_total_bytes
from prunebench.measure.scores import evaluating
from prunebench.measure.weights import raw_bytes
from prunebench.plugins.code import Codes, now
from prunebench.plugins.contracts import Dataset, Model, Objective
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.randomness import seeded
from prunebench.records import CurvePoint, Trial, Value
from prunebench.samples import Footprint, Tree
from prunebench.shapes import LayerShape
from prunebench.splits import Split, Splits, TensorSplit
from prunebench.trial.checkpoints import Checkpoint, Checkpoints
from prunebench.trial.data import require_sound
from prunebench.trial.fingerprints import Fingerprint
from prunebench.trial.guards import Guard, structure
from prunebench.trial.networks import ready
from prunebench.trial.task import Memory
from prunebench.trial.training import Course, epochs_done, fit
from prunebench.trial.weights import load_weights

ON_DEVICE_LIMIT_BYTES = 8 << 30  # a split above this stays where it is and is copied batch by batch
FREE_SHARE = 4  # and so does one above this part of the card's free memory
DATASETS_KEPT = 2

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, eq=False)
class DenseNetwork:
    """A dense network, ready to be copied; never changed."""

    network_id: str
    network: nn.Module
    sha256: str  # of its weights in memory
    train_seconds: float
    curve: tuple[CurvePoint, ...]
    shapes: tuple[LayerShape, ...]
    counts: Counts
    calibration: Tree  # training inputs on the device
    splits: Splits
    objective: Objective
    floors: Mapping[str, float]  # headlines that need no network
    batch_size: int  # calibration samples in one forward pass
    initial: Callable[[int], dict[str, Tensor]]  # the state after so many steps of its training
    fresh: Callable[[int], dict[str, Tensor]]  # the state before any training, by another seed
    handed_out: Fingerprint  # of the calibration inputs and of every split
    structure: tuple[Any, ...]  # as in `guards`
    anatomy: Callable[[nn.Module], Anatomy | None] = lambda network: None  # of it, or of what is left of it
    remarks: tuple[str, ...] = ()  # on the model and the data, for every row
    decoding: Callable[[nn.Module, Tensor], tuple[Any, ...] | None] = lambda network, tokens: None  # of its model
    facts: Mapping[str, Value] = field(default_factory=dict)  # what two numbers must share to be compared
    model: Model | None = None  # the plugin that built it
    footprint: Footprint | None = None  # of one calibration sample

    @property
    def example(self) -> Tree:
        """The first of the calibration samples, as a batch of one."""
        return samples.rows(self.calibration, slice(1))


class Workbench:
    """One device's trials, one after another; the dense network and data of the last one are kept."""

    def __init__(
        self,
        *,
        device: str = "cpu",
        data_dir: str | Path,
        checkpoints: str | Path,
        plugin_files: tuple[str, ...] = (),
        disabled_plugins: tuple[str, ...] = (),
        threads: int | None = None,
        progress: Progress = lambda phase, fraction: None,
        installed: Installed | None = None,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.data_dir = Path(data_dir)
        self.checkpoints = Checkpoints(Path(checkpoints))
        self._loaded_at = now()
        self.installed = installed or find_installed(plugin_files, disabled_plugins)
        self.turn = Turn(device=device, waits=lambda words: self.progress(words, None))
        self.progress = progress
        self.memory = Memory()
        self.guard = Guard()
        self.is_spent = False  # whether this process should run no further trial
        self._advice: dict[str, tuple[str, ...]] = {}  # on each data set that was loaded
        self._unsound: dict[str, str] = {}  # data sets that cannot be used, and why
        self._splits: dict[str, Splits] = {}
        self._dense: DenseNetwork | None = None
        self._codes: Codes | None = None

    @property
    def codes(self) -> Codes:
        """What code the plugins are of."""
        if self._codes is None or self._codes.installed is not self.installed:
            self._codes = Codes(self.installed, self._loaded_at)
        return self._codes

    def dense(self, trial: Trial) -> DenseNetwork:
        """The dense network of `trial`: kept from the last trial, read from its checkpoint, or trained now."""
        if self._dense is None or self._dense.network_id != trial.network_id:
            self._dense = None
            self.memory = Memory()
            self.guard.has_run = True  # the data set's and the model's code
            self._dense = self._load_dense(trial)
        self.guard.hand_out(self._dense.handed_out, self.memory, self._dense.network, self._dense.structure)
        return self._dense

    def forget(self) -> None:
        """Drop the dense network and all shared work: the next trial starts from the checkpoint."""
        self._dense = None
        self.memory = Memory()
        self.guard.hand_back()

    def discard(self) -> None:
        """Drop all that is kept, data too, and mark this process: a fresh one should run what follows."""
        self.forget()
        self._splits.clear()
        self.guard, self.is_spent = Guard(), True

    def splits(self, trial: Trial, model: Model) -> Splits:
        """The trial's data set as its model reads it, on the device when it fits."""
        key = reading(trial, model)
        if key not in self._splits:
            self.progress("data", None)
            loaded = self._loaded(trial, model, key).map(self._placed)
            while len(self._splits) >= DATASETS_KEPT:
                self._splits.pop(next(iter(self._splits)))
            self._splits[key] = loaded
        return self._splits[key]

    def _loaded(self, trial: Trial, model: Model, key: str) -> Splits:
        """What the data set loads, sound; what is wrong is found once, however many trials ask."""
        if key in self._unsound:
            raise DataError(self._unsound[key])
        dataset = instance(self.installed, "dataset", trial.dataset)
        assert isinstance(dataset, Dataset)
        try:
            loaded = dataset.load_for(model, self.data_dir)
            self._advice[key] = require_sound(loaded, model.input_shape, dataset.name)
        except DataError as error:
            self._unsound[key] = str(error)
            raise
        return loaded

    def _placed(self, split: Split) -> Split:
        """On the device where it fits: tensors, and splits that say their `byte_count` and have `to`, as bytes have."""
        if isinstance(split, TensorSplit):
            size: int | None = samples.byte_count(split.inputs) + samples.byte_count(split.targets)
        else:
            size = getattr(split, "byte_count", None)
        if size is None or size > on_device_limit_bytes(self.device):
            return split
        moved: Split = split.to(self.device)  # type: ignore[attr-defined]
        return moved

    def _load_dense(self, trial: Trial) -> DenseNetwork:
        require_planned_code(self.installed, "dataset", trial.dataset)
        require_planned_code(self.installed, "model", trial.model)
        model = instance(self.installed, "model", trial.model)
        assert isinstance(model, Model)
        objective = self.objective(trial)
        require_objective(f"the model {model.name}", model.objectives, objective)
        splits = self.splits(trial, model)
        fresh = self._builder(model, splits, trial.seed)
        network, seconds, curve = self._built(trial, model, splits, fresh)
        network = network.to(self.device).eval().requires_grad_(True)
        if is_large(sum(weight.numel() for weight in network.parameters())):
            share_heaps()  # statistics are taken in threads
        chosen = _calibration(splits.train, trial.protocol.calibration, trial.seed)
        calibration = samples.moved(chosen, self.device)
        example = samples.rows(calibration, slice(1))
        require_inputs_kept(network, example, model.name)
        footprint = Footprint.of(network, example)
        return DenseNetwork(
            trial.network_id,
            network,
            weights_hash(network),
            seconds,
            curve,
            layer_shapes(network, example),
            counts(network, example),
            calibration,
            splits,
            objective,
            objective.floors(splits),
            footprint.batch_size(),
            self._rewinder(trial, model, splits, fresh),
            self._starter(model, splits),
            Fingerprint.of(_handed_out(calibration, splits)),
            structure(network),
            model.anatomy,
            (*model.remarks(), *facts_note(splits), *self._advice[reading(trial, model)]),
            model.decoding,
            _facts(model, network, calibration, splits, trial.seed),
            model,
            footprint,
        )

    def objective(self, trial: Trial) -> Objective:
        """What the trial's data set says that its networks are trained for and scored by."""
        dataset = instance(self.installed, "dataset", trial.dataset)
        assert isinstance(dataset, Dataset)
        return objective_of(self.installed, dataset)

    def _builder(self, model: Model, splits: Splits, seed: int) -> Callable[[], nn.Module]:
        def fresh() -> nn.Module:
            with seeded(seed, self.device):
                built = model.build(splits.output_count)
                return ready(built, lambda: samples.moved(splits.train.head(1)[0], torch.device("cpu")), model.name)

        return fresh

    def _built(
        self, trial: Trial, model: Model, splits: Splits, fresh: Callable[[], nn.Module]
    ) -> tuple[nn.Module, float, tuple[CurvePoint, ...]]:
        """The dense network, the seconds that its training took and its curve."""
        if model.reloads:
            return fresh(), 0.0, ()
        checkpoint = self._checkpoint(trial, model, splits, fresh)
        network = fresh()
        load_weights(network, checkpoint.weights)
        return network, checkpoint.train_seconds, checkpoint.curve

    def _checkpoint(self, trial: Trial, model: Model, splits: Splits, fresh: Callable[[], nn.Module]) -> Checkpoint:
        code = self._network_code(trial)
        found = self.checkpoints.read(trial.network_id, code)
        if found is not None:
            return found
        self.progress("waiting", None)
        with self.checkpoints.training(trial.network_id):
            found = self.checkpoints.read(trial.network_id, code)
            return found if found is not None else self._trained(trial, model, splits, fresh)

    def _trained(self, trial: Trial, model: Model, splits: Splits, fresh: Callable[[], nn.Module]) -> Checkpoint:
        network = fresh().to(self.device)
        started = time.monotonic()
        curve: tuple[CurvePoint, ...] = ()
        if not model.pretrained:
            require_inputs_kept(network, samples.moved(splits.train.head(2)[0], self.device), model.name)
            self.progress("train", 0.0)
            done = epochs_done(trial.protocol.train, len(splits.train))
            curve = self._fit(network, splits, trial, on_epoch=lambda epoch: self.progress("train", done(epoch)))
        seconds = time.monotonic() - started
        return self.checkpoints.write(trial.network_id, network.state_dict(), seconds, curve, self._network_code(trial))

    def _network_code(self, trial: Trial) -> dict[str, str]:
        """Of what decides the dense network beside its id."""
        code = self.codes.of_trial(trial)
        return {key: value for key, value in code.items() if key.startswith(("dataset:", "model:", "objective:"))}

    def _fit(self, network: nn.Module, splits: Splits, trial: Trial, **options: Any) -> tuple[CurvePoint, ...]:
        with seeded(trial.seed, self.device):  # dropout draws from torch's own generator
            return fit(
                network,
                splits.train,
                splits.validation,
                trial.protocol.train,
                objective=self.objective(trial),
                generator=torch.Generator().manual_seed(trial.seed),
                course=Course(self.device, breathe=self.turn.breathe, **options),
            )

    def _rewinder(
        self, trial: Trial, model: Model, splits: Splits, fresh: Callable[[], nn.Module]
    ) -> Callable[[int], dict[str, Tensor]]:
        def rewound(step: int) -> dict[str, Tensor]:
            if model.pretrained:
                raise NotApplicable("the weights came pretrained: their initialisation is not known")
            network = fresh().to(self.device)
            if step:
                self._fit(network, splits, trial, max_steps=step)
            return copy.deepcopy(network.state_dict())

        return rewound

    def _starter(self, model: Model, splits: Splits) -> Callable[[int], dict[str, Tensor]]:
        def started(seed: int) -> dict[str, Tensor]:
            if model.pretrained:
                raise NotApplicable("the weights came pretrained: how the model is initialised is not known")
            return self._builder(model, splits, seed)().to(self.device).state_dict()

        return started


def reading(trial: Trial, model: Model) -> str:
    """The trial's data set as `model` reads it: what equal texts name is loaded once."""
    tokenizer = model.tokenizer()
    return f"{trial.dataset.text} {model.input_shape} {tokenizer.sha256 if tokenizer else ''}"


def on_device_limit_bytes(device: torch.device) -> int:
    """How large a split may be to lie on `device` as a whole: networks, gradients and other splits need room too."""
    if device.type != "cuda":
        return ON_DEVICE_LIMIT_BYTES
    return min(ON_DEVICE_LIMIT_BYTES, free_and_total_bytes(device)[0] // FREE_SHARE)


def facts_note(splits: Splits) -> tuple[str, ...]:
    """What two numbers must have in common to be compared, as one note."""
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in splits.facts.items() if value != "")
    return (f"data: {told}",) if told else ()


def _facts(model: Model, network: nn.Module, calibration: Tree, splits: Splits, seed: int) -> dict[str, Value]:
    """What data sets with a protocol say, the model, and how this trial draws and computes; empty for others."""
    if not splits.facts:
        return {}
    kinds = sorted({str(one.dtype).removeprefix("torch.") for one in network.parameters() if one.is_floating_point()})
    on_card = any(one.device.type == "cuda" for one in network.parameters())
    return {
        **splits.facts,
        **model.facts(network),
        "dtype": ", ".join(kinds),
        "tf32": on_card and torch.get_float32_matmul_precision() != "highest",
        "calibration_samples": samples.count(calibration),
        "calibration_seed": seed,
    }


def objective_of(installed: Installed, dataset: Dataset) -> Objective:
    """The objective that a data set names; raises `PluginError` where it is not installed."""
    plugin = installed.find("objective", dataset.objective, f" (the data set {dataset.name} names it)")
    made: Objective = create(plugin.cls, complete(plugin.cls, {}))
    return made


def require_objective(what: str, names: tuple[str, ...], objective: Objective) -> None:
    """Raise `NotApplicable` where a plugin works for other objectives than this one."""
    if names and objective.name not in names:
        wanted = " or ".join(names)
        raise NotApplicable(f"{what} is for {wanted}, the data set is for {objective.name}")


def _calibration(train: Split, count: int, seed: int) -> Tree:
    """`count` training inputs, drawn without replacement, the same ones for every method of a network."""
    if isinstance(train, TensorSplit):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        return samples.rows(train.inputs, order[:count])
    return train.head(count)[0]


def _handed_out(calibration: Tree, splits: Splits) -> Iterator[tuple[str, Any]]:
    """All that a trial can reach of the data, named as a reader knows it."""
    yield "the calibration inputs", calibration
    for name in ("train", "validation", "test"):
        yield f"the data of the {name} split", getattr(splits, name)


def require_inputs_kept(network: nn.Module, inputs: Tree, name: str) -> None:
    """Raise `PluginError` where a forward pass in evaluation mode changes its own input."""
    tried = samples.mapped(lambda leaf: leaf.detach().clone(), inputs)
    before = [leaf._version for leaf in samples.leaves(tried)]
    with evaluating(network), torch.no_grad():
        samples.call(network, tried)
    if [leaf._version for leaf in samples.leaves(tried)] != before:
        raise PluginError(f"the forward pass of {name} changes its input in place: write x = x - mean, not x -= mean")


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over names, types and bytes of parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(raw_bytes(tensor).numpy().data)
    return digest.hexdigest()
