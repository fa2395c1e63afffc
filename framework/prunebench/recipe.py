"""How a network is trained: `Recipe`, what is done to its images, and the recipes that have a name. Plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec


@dataclass(frozen=True)
class Augmentation:
    """What is done to batches of training images (B, C, H, W) on the device, drawn anew each time by the seed."""

    crop: int = 0  # pixels of zeros around, of which a window of the image's own size is cut
    flip: bool = False  # left and right exchanged, every other time
    resized_crop: float = 1.0  # the least share of the area that is cut out and resized; 1 for not
    rand_augment: int = 0  # operations of RandAugment in a row
    magnitude: int = 9  # theirs, from 0 to 30
    mixup: float = 0.0  # both parameters of the Beta distribution that two images are blended by; 0 for not
    cutmix: float = 0.0  # the same, of the area that another image fills; where both are given, one is drawn
    erase: float = 0.0  # share of the images that lose a rectangle

    @property
    def is_none(self) -> bool:
        """Whether nothing is done."""
        return self == NOTHING or dataclasses.replace(self, magnitude=NOTHING.magnitude) == NOTHING


NOTHING = Augmentation()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained or fine-tuned, for `epochs` or for `steps`; without either it is left as it is.

    `milestones`, `step_epochs` and `warmup` count epochs; where `steps` are given, they count steps.
    """

    epochs: int = 0
    steps: int = 0  # optimizer steps, instead of epochs; 0 for none
    patience: int = 0  # epochs without a better validation loss before it stops; the best weights are restored
    batch_size: int = 128
    lr: float = 1e-3
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: float = 0.9  # sgd only
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step", "multi_step", "one_cycle"] = "constant"
    nesterov: bool = False  # sgd only
    milestones: tuple[int, ...] = ()  # of "multi_step": after each the learning rate is multiplied by `gamma`
    step_epochs: int = 0  # of "step": after each so many the learning rate is multiplied by `gamma`
    gamma: float = 0.1
    warmup: int = 0  # the learning rate rises in a straight line from a hundredth
    decay: Literal["all", "weights"] = "all"  # "weights": no weight decay of biases and norms
    label_smoothing: float = 0.0
    clip: float = 0.0  # the largest norm of the gradient of all weights together; 0 for any
    ema: float = 0.0  # share that a moving average of the weights keeps a step; what is scored is the average
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # in which layers compute; weights are float32
    distill: float = 0.0  # share of the loss that is the distance to the dense network's answers; fine-tuning only
    temperature: float = 4.0  # by which both answers are divided for that
    compile: bool = False  # torch.compile
    augment: Augmentation = NOTHING

    @property
    def trains(self) -> bool:
        """Whether anything is trained by it."""
        return self.epochs > 0 or self.steps > 0

    @property
    def table(self) -> dict[str, Any]:
        """As plain data; keys that are younger than the first grids are left out where they ask for nothing."""
        table: dict[str, Any] = msgspec.to_builtins(self)
        table["augment"] = changed(self.augment)
        usual = {**msgspec.to_builtins(USUAL), "augment": {}}
        return {key: value for key, value in table.items() if key in FIRST_KEYS or value != usual[key]}

    @property
    def text(self) -> str:
        """Canonical JSON of `table`."""
        return msgspec.json.encode(self.table, order="sorted").decode()


FIRST_KEYS = frozenset(
    ("epochs", "patience", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "schedule")
)  # always part of a trial's identity
USUAL = Recipe()


def changed(record: Recipe | Augmentation) -> dict[str, Any]:
    """The keys that are not at their defaults, as plain data."""
    usual, table = msgspec.to_builtins(type(record)()), msgspec.to_builtins(record)
    found = {key: value for key, value in table.items() if value != usual[key]}
    if isinstance(record, Recipe) and "augment" in found:
        found["augment"] = changed(record.augment)
    return found


_SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9}
_SMALL = {"crop": 4, "flip": True}

NAMED: Mapping[str, Mapping[str, Any]] = {
    # Zagoruyko and Komodakis (2016): 200 epochs, 5e-4, the rate times 0.2 at three milestones
    "cifar-200": {
        **_SGD,
        **{"epochs": 200, "batch_size": 128, "weight_decay": 5e-4, "nesterov": True, "schedule": "multi_step"},
        **{"milestones": [60, 120, 160], "gamma": 0.2, "augment": _SMALL},
    },
    # Liu et al. (2019), as He et al. (2015): 160 epochs, the rate a tenth at a half and at three quarters
    "cifar-160": {
        **_SGD,
        **{"epochs": 160, "batch_size": 64, "weight_decay": 1e-4, "schedule": "multi_step"},
        **{"milestones": [80, 120], "augment": _SMALL},
    },
    # He et al. (2015) as torchvision and Liu et al. (2019) train it: the rate a tenth every 30 epochs
    "imagenet-90": {
        **_SGD,
        **{"epochs": 90, "batch_size": 256, "weight_decay": 1e-4, "schedule": "step", "step_epochs": 30},
        **{"augment": {"resized_crop": 0.08, "flip": True}},
    },
}  # name -> the keys that it sets; a grid's own keys stand above them
