"""Training by `fit` beside a loop written by hand, and beside a `DataLoader` with the same augmentation: CPU seconds.

    python benchmarks/training_loops.py [--pairs 3] [--count 4096] [--data-dir DIR]

ResNet-20 and a network of one layer on made-up 32×32 pictures, and `lenet5` on MNIST at 32×32 where DIR has it: plain,
with augmentation (crops with 4 pixels of padding, flips), and with augmentation in mixed precision (bfloat16). One
thread, batches of 128, SGD with Nesterov momentum, smoothed labels. By hand: the same batches sliced from one tensor,
cropped and flipped by the same formulas. `DataLoader`: PIL images and torchvision's transforms, in its own process or
in two workers, whose CPU seconds count. Sides take turns; medians of their CPU seconds are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from prunebench import TensorSplit
from prunebench.recipe import Augmentation, Recipe
from prunebench.trial.training import fit
from prunebench_datasets.handwriting import Mnist
from prunebench_models.convolutional import LeNet5
from prunebench_models.small_images import CifarResNet
from prunebench_objectives.classification import Classification
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

SIZE, CLASSES, PAD, SIDE = 128, 10, 4, 32
PLAIN = Recipe(
    epochs=1, batch_size=SIZE, lr=0.05, optimizer="sgd", nesterov=True, weight_decay=5e-4, label_smoothing=0.1
)
AUGMENTED = replace(PLAIN, augment=Augmentation(crop=PAD, flip=True))
MIXED = replace(AUGMENTED, precision="bfloat16")


@dataclass(frozen=True)
class Case:
    """A network, trained by a recipe on bytes (N, C, 32, 32) with labels."""

    name: str
    build: Callable[[], nn.Module]
    recipe: Recipe
    images: Tensor
    labels: Tensor

    def fresh(self) -> nn.Module:
        """Every time the same network."""
        torch.manual_seed(0)
        return self.build()

    @property
    def split(self) -> TensorSplit:
        """The pictures as one tensor in [-1, 1]."""
        return TensorSplit((self.images / 255 - 0.5) / 0.5, self.labels)


class Pictures(Dataset[tuple[Tensor, int]]):
    """Each of the bytes made a PIL image and put through the usual transforms when it is asked for."""

    def __init__(self, case: Case) -> None:
        self.images, self.labels = case.images.numpy(), case.labels
        wish = case.recipe.augment
        changes = [] if wish.is_none else [transforms.RandomCrop(SIDE, padding=PAD), transforms.RandomHorizontalFlip()]
        normalise = transforms.Normalize((0.5,) * case.images.shape[1], (0.5,) * case.images.shape[1])
        self.prepare = transforms.Compose([*changes, transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        picture = self.images[row]
        image = Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0))
        return self.prepare(image), int(self.labels[row])


def one_layer() -> nn.Module:
    """A network beside which the data show."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)
    )


def stepped(network: nn.Module, recipe: Recipe) -> Callable[[Tensor, Tensor], None]:
    """One step as everybody writes it."""
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    network.to(memory_format=torch.channels_last).train()

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if recipe.precision == "bfloat16" else contextlib.nullcontext():
            loss = criterion(network(x), y)
        loss.backward()
        optimizer.step()

    return step


def by_hand(case: Case) -> None:
    """An epoch over slices of one tensor."""
    split, step, generator = case.split, stepped(case.fresh(), case.recipe), torch.Generator().manual_seed(0)
    for rows in torch.randperm(len(split), generator=generator).split(SIZE):
        x, y = split.images[rows], split.labels[rows]
        if not case.recipe.augment.is_none:
            windows = nn.functional.pad(x, (PAD,) * 4).unfold(2, SIDE, 1).unfold(3, SIDE, 1)
            down, right = torch.randint(2 * PAD + 1, (2, len(x)), generator=generator)
            x = windows[torch.arange(len(x)), :, down, right]
            is_turned = torch.rand(len(x), generator=generator) < 0.5
            x = torch.where(is_turned[:, None, None, None], x.flip(-1), x)
        step(x, y)


def by_loader(case: Case, workers: int) -> None:
    """An epoch of a `DataLoader`."""
    step = stepped(case.fresh(), case.recipe)
    for x, y in DataLoader(Pictures(case), SIZE, shuffle=True, num_workers=workers):
        step(x, y)


def by_fit(case: Case) -> None:
    """An epoch of ours, without a validation split to score."""
    split = case.split
    empty = TensorSplit(split.images[:0], split.labels[:0])
    generator = torch.Generator().manual_seed(0)
    fit(case.fresh(), split, empty, case.recipe, objective=Classification(), generator=generator)


SIDES: dict[str, Callable[[Case], None]] = {
    "fit": by_fit,
    "hand": by_hand,
    "loader": lambda case: by_loader(case, 0),
    "workers": lambda case: by_loader(case, 2),
}


def measured(work: Callable[[Case], None], case: Case) -> float:
    """CPU seconds of this process and of the workers that it started and that ended."""

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    started = spent()
    work(case)
    return spent() - started


def cases(count: int, folder: Path | None) -> Iterator[Case]:
    """Made-up pictures, and MNIST where there is a folder."""
    pictures, labels = torch.randint(256, (count, 3, SIDE, SIDE), dtype=torch.uint8), torch.randint(CLASSES, (count,))
    yield Case("resnet-20", lambda: CifarResNet(depth=20).build(CLASSES), AUGMENTED, pictures, labels)
    yield Case("one layer", one_layer, AUGMENTED, pictures, labels)
    if folder is None:
        return
    inputs, targets = Mnist().load(LeNet5.input_shape, folder).train.head(count)
    digits = ((inputs + 1) * 127.5).round().to(torch.uint8)
    for name, recipe in (("plain", PLAIN), ("augmented", AUGMENTED), ("mixed", MIXED)):
        yield Case(f"lenet5, {name}", lambda: LeNet5().build(CLASSES), recipe, digits, targets)


def main() -> None:
    """Print a line per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST; without it lenet5 is left out")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("network              fit, s  by hand  DataLoader  2 workers  fit / hand  DataLoader / fit  2 workers / fit")
    for case in cases(asked.count, asked.data_dir):
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(asked.pairs + 1):
            for side, work in SIDES.items():
                times[side].append(measured(work, case))
        fitted, hand, loader, workers = (statistics.median(each[1:]) for each in times.values())  # the first warms up
        print(
            f"{case.name:18} {fitted:8.2f} {hand:8.2f} {loader:11.2f} {workers:10.2f} {fitted / hand:11.2f} "
            f"{loader / fitted:17.2f} {workers / fitted:16.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
