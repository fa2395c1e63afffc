"""What an author subclasses: Method, Model, Dataset, Objective, Paper, Metric; and the Task that a method is handed.

A subclass is a frozen dataclass whose fields are what a grid can sweep. A field needs a type and a default; `param`
adds what it means and its bounds, which are checked when a grid is planned, before anything is trained.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypedDict, TypeVar, Unpack

from prunebench.anatomy.parts import Anatomy
from prunebench.errors import NotApplicable
from prunebench.plugins.ledger_rows import LedgerRow, ledger_rows
from prunebench.plugins.published import paper_text, published_rows, with_published
from prunebench.records import CurvePoint, Value
from prunebench.shapes import LayerCounts, LayerShape
from prunebench.splits import Split, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

API_VERSION = 1  # what this prunebench speaks; a plugin that declares none was written for 1


class Later(TypedDict, total=False):
    """Options of `param` that were added after 0.1.0."""

    additive: bool


def param(
    default: Any = dataclasses.MISSING,
    doc: str = "",
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] = (),
    unit: str = "",
    **later: Unpack[Later],
) -> Any:
    """A dataclass field with a meaning, a unit and bounds; without a default the grid must give the value.

    `additive` is for a field that a released plugin gains: at its default, which must be what the plugin did before, it
    is not part of a trial's identity, so earlier results still count.
    """
    if unknown := set(later) - {"additive"}:
        raise TypeError(f"param has no option {', '.join(sorted(unknown))}")
    additive = later.get("additive", False)
    if additive and default is dataclasses.MISSING:
        raise ValueError("an additive field needs a default: what the plugin did before it had the field")
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata = {"doc": doc, "unit": unit, "choices": tuple(choices), "additive": additive, **bounds}
    return dataclasses.field(default=default, metadata=metadata)


class Task(Protocol):
    """What a method may use: the training data and the ways to train, but never the test split."""

    train: Split
    validation: Split
    calibration: Tensor  # training inputs on `device`, as many as the protocol says: (N, C, H, W) of images, or a tree
    example_input: Tensor  # the first of them, as a batch of one
    objective: Objective  # what the network is trained for and scored by
    class_count: int | None  # None where the data have no classes
    batch_size: int  # calibration samples in one forward pass, so that their outputs fit in memory
    outputs: int  # size of the network's answer: classes, numbers per sample, or a vocabulary
    device: torch.device
    seed: int
    generator: torch.Generator  # on the CPU, seeded by the trial: the only randomness a method uses
    shapes: tuple[LayerShape, ...]  # of the network it is handed, in order of execution
    anatomy: Anatomy | None  # of the network it is handed; None where its blocks are not known

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of `compute()`, which runs once per dense network, whatever the swept parameter is.

        Use it only for work on the network as given. Its cost is counted in every trial's `prune_seconds`.
        """

    def fit(self, network: nn.Module, **recipe: Any) -> tuple[CurvePoint, ...]:
        """Train `network` in place by the protocol's fine-tune recipe, changed by `recipe` (`epochs=5, lr=1e-4`).

        Returns one point per epoch. Weights that are zero when it starts stay exactly zero. `max_steps=k` stops after
        k optimizer steps; `after_step=f` calls f() after each. `extra_loss=f` adds f() to each batch's loss: a penalty
        on weights, or a distance to a teacher.
        """

    def rewound(self, step: int = 0) -> dict[str, Tensor]:
        """The dense network's `state_dict` as it was after `step` optimizer steps; 0 is its initialisation."""

    def train_recipe(self) -> Mapping[str, Any]:
        """The recipe that trained the dense network, as keyword arguments for `fit`."""

    def layer(self, name: str, **facts: Any) -> None:
        """Record what was done to a layer: `rank=10`, `weight_error=0.01`, or `left_alone="why"`."""

    def note(self, text: str) -> None:
        """Record what a reader should know beside the numbers."""

    def method(self, name: str, **params: Value) -> Method:
        """Another installed method, checked like a grid's."""


@dataclass(frozen=True)
class Method(ABC):
    """A way to make a network smaller.

    `prune` is handed a private copy of the dense network, in evaluation mode, which it may change and return.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""  # a link
    api_version: ClassVar[int] = 1
    objectives: ClassVar[tuple[str, ...]] = ()  # objectives that it works for, by name; () for any
    stochastic: ClassVar[bool] = False  # draws from `task.generator`: another seed gives other weights
    trains: ClassVar[bool] = False  # calls `task.fit` itself
    control: ClassVar[bool] = False  # True: a baseline that every chart shows; any other value is a field of that name
    knob: ClassVar[str] = ""  # the field that a target (`compression = 4`) is solved for
    loosest: ClassVar[Mapping[str, Value] | None] = None  # the setting at which the network computes as dense
    example: ClassVar[Mapping[str, Value]] = {}  # a setting to try it with, where the defaults are not enough

    @abstractmethod
    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The pruned network; raises `NotApplicable("why")` where it cannot or should not be applied."""

    def check(self) -> None:
        """Raise ValueError where the fields contradict one another; bounds of single fields are checked already."""

    @property
    def measures(self) -> bool:
        """Whether `prune` measures times at these settings, so that two runs on one network may differ."""
        return False

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """What remains of every layer, in closed form, in the order of `shapes`; None where it depends on data.

        The runner asserts it against the network that `prune` returned. Layers that share one record are summed.
        """
        return None

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format, as this method would store `network`; the smallest is the row's `stored_bytes`."""
        return {}

    def exported(self, network: nn.Module) -> tuple[nn.Module, str]:
        """The form of the pruned `network` for another runtime, and "int8" where that runtime's quantizer applies.

        By default it is the network itself. A method whose layers only torch's kernels run returns a copy that computes
        the same in floating point; `network` itself is left as it is.
        """
        return network, ""


class Tokenizer(Protocol):
    """How a language model reads text; a data set of text gets its model's in `Dataset.load_for`."""

    name: str
    sha256: str  # of everything that decides the tokens
    size: int  # of the vocabulary
    begins: bool  # whether `encode` puts a token of its own before the text

    def encode(self, text: str) -> tuple[Tensor, Tensor]:
        """Tokens (N,) int64 of the whole text, and the bytes (N,) of UTF-8 that each stands for."""


@dataclass(frozen=True)
class Model(ABC):
    """An architecture, and where its weights come from."""

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    api_version: ClassVar[int] = 1
    objectives: ClassVar[tuple[str, ...]] = ()  # objectives that its outputs serve, by name; () for any
    input_shape: ClassVar[tuple[int, ...] | None]  # of a sample: (C, H, W), (T,), (F,); None takes the data's own

    @abstractmethod
    def build(self, outputs: int) -> nn.Module:
        """A new network with fresh weights. The caller seeds torch's generator before.

        `outputs` is how many numbers it answers per sample or token: classes (as logits), targets, or a vocabulary's
        size. With `input_shape = None` it may hold torch's lazy layers, which a first sample gives their sizes.
        """

    @property
    def pretrained(self) -> bool:
        """Whether `build` loads trained weights, so that nothing is trained here."""
        return False

    @property
    def reloads(self) -> bool:
        """Whether `build` reads the same trained weights every time, so that no checkpoint keeps a copy of them.

        A result names them by the hash of the dense network.
        """
        return False

    def anatomy(self, network: nn.Module) -> Anatomy | None:
        """The parts of `network` that belong together, by name; None where they are not known.

        By default those of blocks whose class is known: torch's encoder layers, vision transformers of torchvision
        and timm, the decoders of transformers' Llama, Mistral, Qwen2, Qwen3, OPT, GPT-2 and GPT-NeoX. `network` may
        have been pruned by an earlier stage of a pipeline.
        """
        from prunebench.anatomy.recognised import recognised

        return recognised(network)

    def decoding(self, network: nn.Module, tokens: Tensor) -> tuple[Any, ...] | None:
        """The arguments with which `network` reads the last of `tokens` (B, T) after the others; None without a cache.

        `network(*found)` must answer that token's logits (B, 1, vocabulary), as `network(tokens)[:, -1:]` does, and
        leave `found` as it is: the last token (B, 1), then a tree of tensors (B, ...) that the network keeps of the
        first T - 1. `network` may have been pruned. Raises `NotApplicable` where it can no longer be called that way.
        """
        return None

    def tokenizer(self) -> Tokenizer | None:
        """How the model reads text; None for a model that reads no text, or that takes the data set's own tokens."""
        return None

    def facts(self, network: nn.Module) -> Mapping[str, Value]:
        """What two numbers of this model must share to be compared, by name: `revision`, `attention`, `weights`.

        They stand in a row beside the facts of the data set, where it has any.
        """
        return {}

    def remarks(self) -> tuple[str, ...]:
        """What a reader of every row of this model should know, such as that its weights came quantized."""
        return ()

    def named_code(self) -> str:
        """A hash of the code and files that the fields name, empty where they name none; part of a trial's identity.

        It is asked for when a grid is planned, and again before the network is built; a file edited in between is
        refused. `Target.code` makes one without importing anything.
        """
        return ""

    def check(self) -> None:
        """Raise ValueError where the fields contradict one another."""


@dataclass(frozen=True)
class Dataset(ABC):
    """Samples with targets. The split is fixed, so every seed is scored on the same test samples."""

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    api_version: ClassVar[int] = 1
    objective: ClassVar[str] = "classification"  # what networks are trained for and scored by, by its plugin's name
    class_count: ClassVar[int | None] = None  # of data with classes

    @abstractmethod
    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        """The splits in the model's `input_shape` (images are resized to its (C, H, W)); None leaves them as they are.

        Files are read from, or fetched into, `folder`. Raises `DataError` with the fix where they are missing and
        cannot be fetched, or where samples of this shape cannot be made.
        """

    def load_for(self, model: Model, folder: Path) -> Splits:
        """The splits as `model` reads them; by default those of its `input_shape`. Text overrides it, for tokens."""
        return self.load(model.input_shape, folder)

    def available(self, folder: Path) -> bool:
        """Whether `load` would succeed without a network."""
        return True

    def named_code(self) -> str:
        """A hash of the code and files that the fields name, empty where they name none; part of a trial's identity.

        It is asked for when a grid is planned, and again before the data are loaded; a file edited in between is
        refused. `Target.code` makes one without importing anything.
        """
        return ""

    def check(self) -> None:
        """Raise ValueError where the fields contradict one another."""


@dataclass(frozen=True)
class Objective(ABC):
    """What networks are trained for and scored by. A data set names one; classification is the default.

    `outputs` is whatever the network returns and `targets` a batch of the data set's targets, both on one device.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    api_version: ClassVar[int] = 1
    score: ClassVar[str]  # the headline among the numbers of `scores`: "top1_accuracy", "perplexity", "r2"
    units: ClassVar[Mapping[str, str]]  # every number that `scores` may return -> its unit; "fraction" is shown in %
    title: ClassVar[str] = ""  # the headline for people, "top-1 accuracy"; by default `score` with spaces
    larger_is_better: ClassVar[bool] = True
    compared: ClassVar[Literal["difference", "ratio"]] = "difference"  # how two headlines are compared
    near: ClassVar[tuple[float, float]] = (0.01, 0.05)  # losses up to which it is "as good" as dense, and "nearly"
    paired: ClassVar[Literal["bits", "values", "none"]] = "values"  # what `judge` returns per sample, for paired tests

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """The mean over the batch, differentiable: what `fit` minimises."""

    @abstractmethod
    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Numbers by name: (B, ...) one entry per sample, or () for the sum over the batch, in evaluation.

        `value` (B,) is what pairs of networks are compared by: bool (right or wrong) where `paired` is "bits", a loss
        summed over the sample (smaller is better) where it is "values", with `weight` (B,) as what it was summed over
        (1 where left out). `finite` (B,) bool says which outputs are; left out, `value` must be. Raises `InvalidOutput`
        where the outputs do not fit the targets.
        """

    def scores(self, judged: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The numbers of a split, from what `judge` returned for all its N samples: (N, ...) on the CPU, sums added up.

        By default the headline is the weighted mean of `value`. Raises `InvalidOutput` where a number has no meaning.
        """
        return {self.score: weighted_mean(judged)}

    def floors(self, splits: Splits) -> Mapping[str, float]:
        """Headline scores that need no network, by name: `chance`, `majority`, `mean`; empty where none is known."""
        return {}

    def spread(self, outputs: Any, generator: torch.Generator) -> Any:
        """A random tensor of the shape of `outputs`, whose second moment is the curvature of the loss at `outputs`.

        Methods draw it to weigh a layer's responses by their effect on the loss. Raises `NotApplicable` where the
        curvature is unknown.
        """
        raise NotApplicable(f"the objective {self.name} says nothing about the curvature of its loss")

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Made-up outputs and targets of `count` samples, for the kit to try the objective with."""
        raise NotImplementedError(f"the objective {self.name} has no example")

    def check(self) -> None:
        """Raise ValueError where the fields contradict one another."""


def weighted_mean(judged: Mapping[str, Tensor]) -> float:
    """The sum of `value` over the sum of `weight` (1 each where there is none), in float64."""
    value = judged["value"].double().sum()
    weight = judged["weight"].double().sum() if "weight" in judged else float(len(judged["value"]))
    return float(value / weight)


@dataclass(frozen=True)
class Paper(ABC):
    """A publication as a grid that anyone can rerun, with its published numbers and its claims.

    `folder` holds the grids `full.toml` and `offline.toml`, `claims.toml` (the `[[claim]]`s of both), `published.csv`,
    `notes.md` and, for a table of published beside ours, `comparison.sql`, in which `$published` stands for the rows of
    the CSV. A `ledger.csv` gives the protocol of every published number.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    paper: ClassVar[str] = ""
    api_version: ClassVar[int] = 1
    folder: ClassVar[Path]
    columns: ClassVar[tuple[str, ...]] = ()  # columns that `published.csv` must have

    def grid(self, scale: str) -> str:
        """The TOML text of the grid at `scale` ("full" or "offline") with its claims; raises `DataError` without one.

        Claims may stand in the grid itself as well, where the two scales claim different things.
        """
        grid, claims = paper_text(self.folder / f"{scale}.toml"), self.folder / "claims.toml"
        return f"{grid.rstrip()}\n\n{paper_text(claims)}" if claims.is_file() else grid

    def published(self) -> list[dict[str, str]]:
        """The published numbers, one per row, with empty text where the paper gives none; raises `DataError`."""
        return published_rows(self.folder / "published.csv", self.columns)

    def ledger(self) -> list[LedgerRow]:
        """The published numbers with their protocol, from `ledger.csv`; [] without the file; raises `DataError`."""
        file = self.folder / "ledger.csv"
        return ledger_rows(file, self.name) if file.is_file() else []

    def comparison(self) -> str:
        """SQL over the views that lays ours beside the published numbers; empty where the paper has none.

        On the page, rows with the same `table` stand under that name. `published_x`, `formula_x` and `our_x` share one
        heading, with their difference. A column whose name begins with `why` is shown as the reason.
        """
        template = self.comparison_template()
        return with_published(template, self.published()) if template else ""

    def comparison_template(self) -> str:
        """`comparison.sql`, before the published rows are filled in."""
        file = self.folder / "comparison.sql"
        return paper_text(file) if file.is_file() else ""

    def figures(self) -> Sequence[type[Any]]:
        """Subclasses of `Chart`, one per figure: our rows beside the published ones, `$published` in their SQL."""
        return ()

    def notes(self) -> str:
        """Markdown text: the protocol, where ours departs from it, and why numbers differ."""
        file = self.folder / "notes.md"
        return paper_text(file) if file.is_file() else ""


@dataclass(frozen=True)
class Metric(ABC):
    """Named numbers about a pruned network beside its dense one, stored as `metric.number` in the view `metrics`."""

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    api_version: ClassVar[int] = 1
    objectives: ClassVar[tuple[str, ...]] = ()  # objectives that it measures, by name; () for any
    units: ClassVar[Mapping[str, str]]  # number -> unit, of all that `measure` may return

    @abstractmethod
    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """Number by name; both networks are in evaluation mode on `device` and must be left as they are.

        Raises `NotApplicable("why")` where it does not apply to such networks or data; the reason becomes a note.
        """

    def measure_with(
        self, model: Model | None, network: nn.Module, dense: nn.Module, test: Split, device: torch.device
    ) -> Mapping[str, float]:
        """As `measure`, which it calls by default, for a metric that asks the model as well, such as for its tokenizer.

        `model` is None where networks are measured that no grid named.
        """
        return self.measure(network, dense, test, device)

    def unit(self, number: str) -> str | None:
        """The unit of a number that was measured, by default that of `units`; None for one that has none."""
        return self.units.get(number)

    def named_code(self) -> str:
        """A hash of the code and files that the fields name, empty where they name none; part of a trial's identity.

        It is asked for when a grid is planned, and again before anything is measured; a file edited in between is
        refused.
        """
        return ""

    def check(self) -> None:
        """Raise ValueError where the fields contradict one another."""
