"""What the kit tries plugins on: small networks with the features of real ones, and a real task on made-up data."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunebench.anatomy.recognised import recognised
from prunebench.measure.counts import layer_shapes
from prunebench.plugins.contracts import Method, Objective
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.randomness import seeded
from prunebench.records import Recipe, Value
from prunebench.splits import Splits, TensorSplit
from prunebench.trial.task import Memory, TrialTask

CLASSES = 5
RECIPE = Recipe(epochs=1, batch_size=32, lr=1e-3)


def fully_connected() -> nn.Module:
    """Three linear layers with ReLU between them."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, CLASSES)
    )


def convolutional() -> nn.Module:
    """Convolutions with padding, stride and batch normalisation, then two linear layers."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, CLASSES),
    )


def unusual() -> nn.Module:
    """Grouped, dilated, bias-free and reflect-padded convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=3, bias=False),
        nn.ReLU(),
        nn.Conv2d(12, 16, (1, 3), padding="same"),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, CLASSES, bias=False),
    )


class Mean(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n) to (B, n)."""
        return x.mean(1)


def transformer() -> nn.Module:
    """Three encoder layers over the three channels as positions, norms first."""
    layer = nn.TransformerEncoderLayer(24, 3, 40, dropout=0.0, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    for parameter in encoder.parameters():  # the layers start as copies of one, with biases of zero
        if parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
        else:
            parameter.data.add_(0.1 * torch.randn(parameter.shape))
    return nn.Sequential(nn.Flatten(2), nn.Linear(64, 24), encoder, Mean(), nn.Linear(24, CLASSES))


class _Centred(nn.Linear):
    """Not the linear layer that its class promises: it centres its weight at every call."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight - self.weight.mean(1, keepdim=True), self.bias)


class Odd(nn.Module):
    """Between plain linear layers: one with its own forward pass, a tied one, and one whose weight is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(192, 40), nn.Linear(32, CLASSES)
        self.centred = _Centred(40, 32)
        self.table, self.tied = nn.Embedding(32, 32), nn.Linear(32, 32, bias=False)
        self.tied.weight = self.table.weight
        self.read = nn.Linear(32, 24)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 8, 8) -> (N, classes)."""
        x = torch.relu(self.centred(torch.relu(self.first(x.flatten(1)))))
        x = self.tied(x) + self.table.weight[0]
        x = nn.functional.linear(torch.relu(self.read(x)), self.read.weight.t())
        logits: Tensor = self.last(x)
        return logits


def odd_network() -> nn.Module:
    """A seeded network with two layers that a method may change; it should leave the others alone."""
    with seeded(7):
        return Odd().eval()


COUPLED: dict[str, Callable[[], nn.Module]] = {"transformer": transformer}  # for methods that decline all the others
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "fully connected": fully_connected,
    "convolutional": convolutional,
    "grouped and dilated": unusual,
}


def network(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """One of the networks, seeded; running statistics and biases have left their initial values."""
    with seeded(7):
        result = (NETWORKS | COUPLED)[name]()
        for module in result.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn(module.num_features) / 4
                module.running_var = 0.5 + torch.rand(module.num_features)
    return result.to(dtype).eval()


def inputs(count: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    """(count, 3, 8, 8), smooth enough that calibration has something to find."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    fine = torch.randn(count, 3, 8, 8, generator=generator)
    return (nn.functional.interpolate(coarse, size=8, mode="bilinear") + 0.2 * fine).to(dtype)


def splits(dtype: torch.dtype = torch.float32) -> Splits:
    """Made-up images (3, 8, 8): 96 for training, 32 for validation, 32 for the test."""
    images = inputs(160, dtype)
    labels = torch.arange(160) % CLASSES
    train, validation, test = (TensorSplit(images[a:b], labels[a:b]) for a, b in ((0, 96), (96, 128), (128, 160)))
    return Splits(train, validation, test, CLASSES, "made up")


def task(
    dense: nn.Module,
    seed: int = 0,
    memory: Memory | None = None,
    data: Splits | None = None,
    objective: str = "classification",
) -> TrialTask:
    """A real task for `dense` on the CPU, with a brief training; without `data` it is on made-up images."""
    dtype = next((p.dtype for p in dense.parameters()), torch.float32)
    data = data or splits(dtype)
    calibration = data.train.head(96)[0]
    made_for: Objective = find_installed().find("objective", objective).cls()

    def make(name: str, params: dict[str, Value]) -> Method:
        cls = find_installed().find("method", name).cls
        made: Method = create(cls, complete(cls, params))
        return made

    def initial(step: int) -> dict[str, Tensor]:
        return copy.deepcopy(dense.state_dict())

    return TrialTask(
        device=torch.device("cpu"),
        seed=seed,
        finetune=RECIPE,
        train=data.train,
        validation=data.validation,
        recipe=RECIPE,
        calibration=calibration,
        example_input=calibration[:1],
        shapes=layer_shapes(dense, calibration[:1]),
        class_count=data.class_count,
        outputs=data.output_count,
        objective=made_for,
        memory=memory if memory is not None else Memory(),
        initial=initial,
        make=make,
        breathe=lambda: None,
        generator=torch.Generator().manual_seed(seed),
        anatomy=recognised(dense),
    )
