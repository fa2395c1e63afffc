"""A small task in memory, and what the tests of all bundled methods share (`from fake_task import ...`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from prunebench import LayerCounts, Method, TensorSplit
from prunebench.measure.counts import layer_shapes
from prunebench_objectives.classification import Classification
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

PLAIN = {"round_to": 1, "skip_last": False}  # for methods with ranks: exactly those, in every layer


@dataclass
class FakeTask:
    """What `prunebench.Task` promises, in memory; `network` is the dense one, for shapes and rewinding."""

    network: nn.Module
    train: TensorSplit
    validation: TensorSplit
    calibration_count: int = 1024
    seed: int = 0
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # what `layer` was told
    notes: list[str] = field(default_factory=list)
    kept: dict[Hashable, Any] = field(default_factory=dict)
    computed: list[Hashable] = field(default_factory=list)  # keys that `once` had to compute
    methods: dict[str, type[Method]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.device = torch.device("cpu")
        self.generator = torch.Generator().manual_seed(self.seed)
        dtype = next((p.dtype for p in self.network.parameters()), torch.float32)
        self.calibration = self.train.images[: self.calibration_count].to(dtype)
        self.example_input = self.calibration[:1]
        self.class_count = self.outputs = int(self.train.labels.max()) + 1
        self.objective = Classification()
        self.batch_size = 256
        self.anatomy = None
        self.shapes = layer_shapes(self.network, self.example_input)
        self.initial = {name: value.clone() for name, value in self.network.state_dict().items()}

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        if key not in self.kept:
            self.computed.append(key)
            self.kept[key] = compute()
        return self.kept[key]

    def fit(
        self,
        network: nn.Module,
        *,
        epochs: int = 1,
        lr: float = 1e-3,
        batch_size: int = 64,
        max_steps: int = 0,
        weight_decay: float = 0.0,
        after_step: Callable[[], None] | None = None,
        **recipe: Any,
    ) -> tuple[Any, ...]:
        """Adam with cross-entropy; weights that are zero when it starts stay zero."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        masks = [p.detach() != 0 for p in parameters]
        optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
        generator = torch.Generator().manual_seed(self.seed)
        network.train()
        for images, labels in list(self._steps(epochs, batch_size, generator))[: max_steps or None]:
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            with torch.no_grad():
                for parameter, mask in zip(parameters, masks, strict=True):
                    parameter.mul_(mask)
            if after_step:
                after_step()
        network.eval()
        return ()

    def _steps(self, epochs: int, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(epochs):
            yield from self.train.batches(size, generator=generator)

    def rewound(self, step: int = 0) -> dict[str, Tensor]:
        """The network as it was when the task was made, whatever the step."""
        return {name: value.clone() for name, value in self.initial.items()}

    def train_recipe(self) -> dict[str, Any]:
        return {"epochs": 1}

    def layer(self, name: str, **facts: Any) -> None:
        self.facts.setdefault(name, {}).update(facts)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def method(self, name: str, **params: Any) -> Method:
        return self.methods[name](**params)

    def left_alone(self) -> dict[str, str]:
        """Layer -> the reason that was recorded."""
        return {name: facts["left_alone"] for name, facts in self.facts.items() if facts.get("left_alone")}


def random_splits(shape: tuple[int, int, int], classes: int = 10, count: int = 256, seed: int = 0) -> list[TensorSplit]:
    """Train and validation: classes that differ in their mean, so that they can be learned."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, *shape, generator=generator)
    splits = []
    for size in (count, max(count // 4, 1)):
        labels = torch.arange(size) % classes
        noise = torch.randn(size, *shape, generator=generator)
        splits.append(TensorSplit(means[labels] + noise, labels))
    return splits


def fake_task(network: nn.Module, shape: tuple[int, int, int], *, classes: int = 10, **options: Any) -> FakeTask:
    """A task of random, learnable data of that input shape (C, H, W) around `network`, which is put in eval mode."""
    count, seed = options.pop("count", 256), options.get("seed", 0)
    return FakeTask(network.eval(), *random_splits(shape, classes, count, seed), **options)


def digits_task(network: nn.Module, **options: Any) -> FakeTask:
    """Scikit-learn's 8x8 digits: 1,400 samples to train and the rest to validate."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], torch.tensor(data.target)[order].long()
    train, validation = TensorSplit(images[:1400], labels[:1400]), TensorSplit(images[1400:], labels[1400:])
    return FakeTask(network.eval(), train, validation, **options)


def pruned(method: Method, task: FakeTask) -> nn.Module:
    """What `method` makes of a private copy of the task's network, which must itself not change."""
    before = copy.deepcopy(task.network.state_dict())
    network = method.prune(copy.deepcopy(task.network), task)
    after = task.network.state_dict()
    assert all(torch.equal(after[name], value) or value.isnan().any() for name, value in before.items())
    return network


def mac_count(network: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of one sample, by torch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return counter.get_total_flops() // 2


def assert_counts_hold(method: Method, task: FakeTask, network: nn.Module) -> list[LayerCounts]:
    """The closed form equals what is counted in `network`, which `method` returned; returns the closed form."""
    counts = method.counts(task.shapes)
    assert counts is not None
    assert [count.name for count in counts] == [shape.name for shape in task.shapes]
    elsewhere = sum(p.numel() for p in task.network.parameters()) - sum(s.parameter_count for s in task.shapes)
    assert sum(c.parameter_count for c in counts) + elsewhere == sum(p.numel() for p in network.parameters())
    assert sum(c.mac_count for c in counts) == mac_count(network, task.example_input)
    assert {c.name: c.left_alone for c in counts if c.left_alone} == task.left_alone()
    return counts


def accuracy(network: nn.Module, task: FakeTask) -> float:
    """Share of the validation samples that the network gets right."""
    with torch.no_grad():
        return float((network(task.validation.images).argmax(1) == task.validation.labels).float().mean())


def small_fcn(activation: type[nn.Module] = nn.ReLU, inputs: int = 64) -> nn.Sequential:
    """Flatten, three linear layers, an activation between them."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 48), activation(), nn.Linear(48, 32), activation(), nn.Linear(32, 10)
    )


def small_cnn() -> nn.Sequential:
    """Two convolutions and two linear layers on inputs of (3, 12, 12)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 40),
        nn.ReLU(),
        nn.Linear(40, 10),
    )
