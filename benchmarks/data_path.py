"""Training and evaluation from one tensor, as trials do it, beside a `DataLoader` over PIL images: CPU seconds.

    python benchmarks/data_path.py [--pairs 5] [--per-class 560]

`lenet5` on the rendered letters, one thread, the same batches. The usual side holds bytes as torchvision's MNIST does,
makes a PIL image of each, and resizes, converts and normalises it in the `DataLoader`'s process, then runs the usual
loops: Adam, cross-entropy, one pass over the validation part; `no_grad` and argmax in evaluation. Ours is
`training.fit` and `measure.accuracy.evaluate`, which computes top-5, loss and the bitmap as well. What is paid once,
the tensor of the whole data set, is on a line of its own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from PIL import Image
from prunebench import Splits
from prunebench.measure.scores import evaluate
from prunebench.records import Recipe
from prunebench.trial.training import fit
from prunebench_datasets.images import Part, Parts, splits_of
from prunebench_datasets.letters import draw_letters
from prunebench_models.convolutional import LeNet5
from prunebench_objectives.classification import Classification
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

RECIPE = Recipe(epochs=1, lr=1e-3, batch_size=100)
CLASS_COUNT = 26
BATCH = 256


class Pictures(Dataset[tuple[Tensor, int]]):
    """Bytes (N, H, W), each made a PIL image and put through the usual transforms when it is asked for."""

    def __init__(self, part: Part) -> None:
        self.part = part
        side = LeNet5.input_shape[1]
        self.prepare = transforms.Compose(
            [transforms.Resize((side, side)), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
        )

    def __len__(self) -> int:
        return len(self.part.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.part.images[row].numpy())
        return self.prepare(picture), int(self.part.labels[row])


@torch.no_grad()
def usual_evaluation(network: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    """Top-1 accuracy."""
    network.eval()
    right = count = 0
    for images, labels in loader:
        right += int((network(images).argmax(1) == labels).sum())
        count += len(labels)
    return right / count


def usual_training(network: nn.Module, parts: Parts) -> float:
    """An epoch of training and a pass over the validation part; its top-1 accuracy."""
    train = DataLoader(Pictures(parts.train), RECIPE.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), RECIPE.lr)
    criterion = nn.CrossEntropyLoss()
    network.train()
    for images, labels in train:
        optimizer.zero_grad()
        loss = criterion(network(images), labels)
        loss.backward()
        optimizer.step()
    return usual_evaluation(network, DataLoader(Pictures(parts.validation), BATCH))


def our_training(network: nn.Module, splits: Splits) -> float:
    """The same epoch by `fit`; top-1 accuracy on the validation part."""
    curve = fit(
        network,
        splits.train,
        splits.validation,
        RECIPE,
        objective=Classification(),
        generator=torch.Generator().manual_seed(0),
    )
    return curve[-1].validation_accuracy


def fresh() -> nn.Module:
    """An untrained network, every time the same."""
    torch.manual_seed(0)
    return LeNet5().build(CLASS_COUNT)


def measured(work: Callable[[], float]) -> tuple[float, float]:
    """CPU seconds of this process, and what the work returns."""
    started = time.process_time()
    value = work()
    return time.process_time() - started, value


def row(label: str, samples: int, pairs: int, usual: Callable[[], float], ours: Callable[[], float]) -> str:
    """Both sides in turn; a line of medians."""
    usual(), ours()  # not measured: the first call is slower
    rounds = [(measured(usual), measured(ours)) for _ in range(pairs)]
    ratios = [first[0] / second[0] for first, second in rounds]
    seconds = [statistics.median(pair[side][0] for pair in rounds) for side in (0, 1)]
    (_, first_accuracy), (_, second_accuracy) = rounds[-1]
    return (
        f"{label:10} {samples / seconds[0]:>12,.0f} {samples / seconds[1]:>10,.0f} {statistics.median(ratios):>7.2f} "
        f"{min(ratios):>6.2f}-{max(ratios):.2f}   {first_accuracy:.1%} / {second_accuracy:.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=560, help="pictures of each letter")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = draw_letters(options.per_class, 1.0, 0.08, 0)
    once, _ = measured(lambda: len(splits_of(parts, LeNet5.input_shape, CLASS_COUNT).train))
    splits = splits_of(parts, LeNet5.input_shape, CLASS_COUNT)
    network = fresh()
    our_training(network, splits)
    test = DataLoader(Pictures(parts.test), BATCH)
    lines = [
        row(
            "evaluation",
            len(splits.test),
            options.pairs,
            lambda: usual_evaluation(network, test),
            lambda: evaluate(network, splits.test, Classification(), "cpu").top1_accuracy,
        ),
        row(
            "training",
            len(splits.train) + len(splits.validation),
            options.pairs,
            lambda: usual_training(fresh(), parts),
            lambda: our_training(fresh(), splits),
        ),
    ]
    print(f"{'samples a CPU second':10}   PIL images   a tensor   ratio    its range   accuracy, both")
    print("\n".join(lines))
    print(f"the tensor of all {sum(len(part.labels) for part in parts):,} samples, once: {once:.2f} CPU seconds")


if __name__ == "__main__":
    main()
