"""Small networks on (1, 4, 4) images, each with one structure that is easily taken for something that it is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from prunebench import Model
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

NETWORKS: dict[str, Callable[[], nn.Module]] = {}
CLASSES = 4


def network(make):
    """Keep what makes a network under its name; classes make themselves."""
    NETWORKS[make.__name__.lower()] = make
    return make


def model(name: str) -> type[Model]:
    """A model plugin that builds the network of this name."""

    def build(self, class_count: int) -> nn.Module:
        return NETWORKS[name]()

    facts = {"__doc__": name, "name": name, "input_shape": (1, 4, 4), "build": build, "__module__": __name__}
    return dataclass(frozen=True)(type(name, (Model,), facts))


def perceptron(first: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, CLASSES))


class StandardisedLinear(nn.Linear):
    def forward(self, x):
        weight = self.weight - self.weight.mean(1, keepdim=True)
        return functional.linear(x, weight / (weight.std(1, keepdim=True) + 1e-5), self.bias)


class EqualisedConv(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight * 0.3, self.bias)


class Adapter(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x):
        return super().forward(x) + functional.linear(functional.linear(x, self.down), self.up)


class MaskedInside(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("mask", (torch.rand(outputs, inputs) > 0.5).float())

    def forward(self, x):
        return functional.linear(x, self.weight * self.mask, self.bias)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T


@network
def standardised():
    return perceptron(StandardisedLinear(16, 12))


@network
def equalised():
    return nn.Sequential(EqualisedConv(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(24, CLASSES))  # fmt: skip


@network
def adapted():
    return perceptron(Adapter(16, 12))


@network
def masked_inside():
    return perceptron(MaskedInside(16, 12))


@network
def weight_norm():
    return perceptron(parametrizations.weight_norm(nn.Linear(16, 12)))


@network
def spectral_norm():
    return perceptron(parametrizations.spectral_norm(nn.Linear(16, 12)))


@network
def orthogonal():
    return perceptron(parametrizations.orthogonal(nn.Linear(16, 12)))


@network
def symmetric():
    layer = nn.Linear(16, 16)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(16, CLASSES))


@network
def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return perceptron(nn.utils.weight_norm(nn.Linear(16, 12)))


@network
def old_spectral_norm():
    return perceptron(nn.utils.spectral_norm(nn.Linear(16, 12)))


@network
def masked_already():
    layer = nn.Linear(16, 12)
    prune.l1_unstructured(layer, "weight", 0.5)
    return perceptron(layer)


@network
class TiedEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.mix = nn.Embedding(10, 8), nn.Linear(8, 8)
        self.head, self.out = nn.Linear(8, 10, bias=False), nn.Linear(10, CLASSES)
        self.head.weight = self.embed.weight

    def forward(self, x):
        tokens = (x.flatten(1) * 2 + 5).long().clamp(0, 9)
        return self.out(self.head(functional.relu(self.mix(self.embed(tokens))).mean(1)))


@network
class TiedDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.out = nn.Linear(16, 10), nn.Linear(16, CLASSES)

    def forward(self, x):
        hidden = functional.relu(self.encode(x.flatten(1)))
        return self.out(functional.relu(functional.linear(hidden, self.encode.weight.t())))


@network
class TiedBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(16, 12), nn.Linear(12, 12), nn.Linear(12, CLASSES)
        self.second.bias = self.first.bias

    def forward(self, x):
        return self.out(functional.relu(self.second(functional.relu(self.first(x.flatten(1))))))


@network
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Linear(4, 8), nn.Linear(8, CLASSES)
        self.block = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), 1)

    def forward(self, x):
        return self.out(self.block(self.embed(x[:, 0])).mean(1))


@network
class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.out = nn.Linear(24, CLASSES)

    def forward(self, x):
        x = functional.relu(self.second(input=functional.relu(self.first(input=x))))
        return self.out(input=x.flatten(1))


@network
class OneVector(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.gate, self.out = nn.Linear(16, 12), nn.Linear(12, 12), nn.Linear(12, CLASSES)
        self.vector = nn.Parameter(torch.randn(12))

    def forward(self, x):
        return self.out(functional.relu(self.first(x.flatten(1))) * torch.sigmoid(self.gate(self.vector)))


@network
class FiveAxes(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(54, CLASSES)
        self.deep = nn.Conv3d(2, 3, (1, 2, 2))
        self.register_buffer("table", torch.zeros(1, 1, 1, 1, 4))

    def forward(self, x):
        x = functional.relu(self.first(x)).unflatten(1, (2, 3))
        return self.out(self.deep(x)[:, :, :2].flatten(1)) + self.table.sum()


@network
class WithoutEntries(nn.Module):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.nothing_in, self.nothing_out = nn.Linear(0, 12), nn.Linear(12, 0)
        self.first, self.out = nn.Linear(16, 12), nn.Linear(12, CLASSES)

    def forward(self, x):
        x = functional.relu(self.first(x.flatten(1)))
        return self.out(x + self.nothing_in(x[:, :0]) + self.nothing_out(x).sum(1, keepdim=True))


@network
class Versioned(nn.Module):
    """As torchvision's MNASNet, it does not load a state without its version; and it has extra state."""

    _version = 2

    def __init__(self):
        super().__init__()
        self.first, self.out, self.facts = nn.Linear(16, 12), nn.Linear(12, CLASSES), {"steps": 3}

    def forward(self, x):
        return self.out(functional.relu(self.first(x.flatten(1))))

    def get_extra_state(self):
        return self.facts

    def set_extra_state(self, state):
        self.facts = state

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version") != 2:
            raise ValueError(f"version {local_metadata.get('version')} is not known")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@network
def lazy():
    return nn.Sequential(nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(CLASSES))


@network
def paddings():
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding="same"), nn.ReLU(), nn.Conv2d(6, 6, 3, padding="valid"), nn.ReLU(),
                         nn.Conv2d(6, 6, (3, 1), padding="same"), nn.Flatten(), nn.Linear(24, CLASSES))  # fmt: skip


@network
def compiled():
    return torch.compile(perceptron(nn.Linear(16, 12)), backend="eager")


@network
def compiled_inside():
    return perceptron(torch.compile(nn.Linear(16, 12), backend="eager"))


@network
def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(perceptron(nn.Linear(16, 12)))


@network
class Tuple(nn.Module):
    """Auxiliary logits while it trains."""

    def __init__(self):
        super().__init__()
        self.first, self.out, self.other = nn.Linear(16, 12), nn.Linear(12, CLASSES), nn.Linear(12, CLASSES)

    def forward(self, x):
        x = functional.relu(self.first(x.flatten(1)))
        return (self.out(x), self.other(x)) if self.training else self.out(x)


@network
class Dictionary(Tuple):
    def forward(self, x):
        return {"logits": self.out(functional.relu(self.first(x.flatten(1))))}
