"""Training by `fit` beside a loop written by hand, and beside a `DataLoader` with the same augmentation: CPU seconds.

    python benchmarks/training_loops.py [--pairs 3] [--count 4096]

ResNet-20 on made-up 32×32 pictures, one thread, batches of 128, SGD with Nesterov momentum, a milestone, smoothed
labels; crops with 4 pixels of padding and flips. By hand: the same batches sliced from one tensor, cropped and flipped
by the same formulas. `DataLoader`: PIL images and torchvision's transforms in its own process, as scripts usually have
it. Sides take turns; medians of their CPU seconds are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from prunebench import TensorSplit
from prunebench.recipe import Augmentation, Recipe
from prunebench.trial.training import fit
from prunebench_models.small_images import CifarResNet
from prunebench_objectives.classification import Classification
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

SIZE, CLASSES = 128, 10
RECIPE = Recipe(
    epochs=1, batch_size=SIZE, lr=0.05, optimizer="sgd", nesterov=True, weight_decay=5e-4, label_smoothing=0.1,
    augment=Augmentation(crop=4, flip=True),
)  # fmt: skip


class Pictures(Dataset[tuple[Tensor, int]]):
    """Bytes (N, 3, 32, 32), each made a PIL image and put through the usual transforms when it is asked for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.prepare = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images[row].permute(1, 2, 0).numpy())
        return self.prepare(picture), int(self.labels[row])


def fresh(is_small: bool) -> nn.Module:
    """Every time the same: ResNet-20, or one convolution, beside which the data show."""
    torch.manual_seed(0)
    if not is_small:
        return CifarResNet(depth=20).build(CLASSES)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)
    )


def stepped(network: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """One step as everybody writes it."""
    optimizer = torch.optim.SGD(
        network.parameters(), RECIPE.lr, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    network.to(memory_format=torch.channels_last).train()

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        criterion(network(x), y).backward()
        optimizer.step()

    return step


def by_hand(network: nn.Module, split: TensorSplit) -> None:
    """An epoch over slices of one tensor."""
    step, generator = stepped(network), torch.Generator().manual_seed(0)
    for rows in torch.randperm(len(split), generator=generator).split(SIZE):
        x, y = split.images[rows], split.labels[rows]
        windows = nn.functional.pad(x, (4,) * 4).unfold(2, 32, 1).unfold(3, 32, 1)
        down, right = torch.randint(9, (2, len(x)), generator=generator)
        x = windows[torch.arange(len(x)), :, down, right]
        is_turned = torch.rand(len(x), generator=generator) < 0.5
        step(torch.where(is_turned[:, None, None, None], x.flip(-1), x), y)


def by_loader(network: nn.Module, pictures: Pictures) -> None:
    """An epoch of a `DataLoader`."""
    step = stepped(network)
    for x, y in DataLoader(pictures, SIZE, shuffle=True):
        step(x, y)


def by_fit(network: nn.Module, split: TensorSplit) -> None:
    """An epoch of ours, without a validation split to score."""
    empty = TensorSplit(split.images[:0], split.labels[:0])
    fit(network, split, empty, RECIPE, objective=Classification(), generator=torch.Generator().manual_seed(0))


def measured(work: Callable[[nn.Module, Any], None], network: nn.Module, data: Any) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    work(network, data)
    return time.process_time() - started


def main() -> None:
    """Print both comparisons on both networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--count", type=int, default=4096)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pictures = torch.randint(256, (asked.count, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(CLASSES, (asked.count,))
    split, usual = TensorSplit((pictures / 255 - 0.5) / 0.5, labels), Pictures(pictures, labels)
    print("network      fit, s   by hand, s   DataLoader, s   fit / by hand   DataLoader / fit")
    for name, is_small in (("resnet-20", False), ("one layer", True)):
        times: dict[str, list[float]] = {"fit": [], "hand": [], "loader": []}
        for _ in range(asked.pairs + 1):
            times["fit"].append(measured(by_fit, fresh(is_small), split))
            times["hand"].append(measured(by_hand, fresh(is_small), split))
            times["loader"].append(measured(by_loader, fresh(is_small), usual))
        ours, hand, loader = (statistics.median(each[1:]) for each in times.values())  # the first warms up
        print(
            f"{name:10} {ours:8.2f} {hand:12.2f} {loader:15.2f} {ours / hand:15.2f} {loader / ours:18.2f}", flush=True
        )


if __name__ == "__main__":
    main()
