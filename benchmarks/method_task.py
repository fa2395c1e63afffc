"""A task for measuring methods by themselves: digits as 28x28 images, moved and turned, and networks for them."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from prunebench import Splits, TensorSplit
from prunebench.measure.counts import layer_shapes
from prunebench.records import Recipe
from prunebench.trial.task import Memory, TrialTask
from prunebench.trial.training import fit
from prunebench_datasets.handwriting import Digits
from prunebench_models.fully_connected import LargeFcn, SimpleFcn
from prunebench_objectives.classification import Classification
from torch import Tensor, nn
from torch.nn import functional

MODELS = {"large_fcn": LargeFcn, "simple_fcn": SimpleFcn}
COPIES = 12  # of every training sample, each moved and turned its own way
SEED = 0


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images (N, 1, H, W), each turned by up to 15 degrees, scaled by up to 10 % and shifted by up to 2 pixels."""
    count = len(images)
    draw = torch.rand(4, count, generator=generator) * 2 - 1
    angle, scale = draw[0] * 0.26, 1 + 0.1 * draw[1]
    rows = torch.stack((scale * angle.cos(), -scale * angle.sin(), draw[2] * 2 / 14), 1)
    columns = torch.stack((scale * angle.sin(), scale * angle.cos(), draw[3] * 2 / 14), 1)
    grid = functional.affine_grid(torch.stack((rows, columns), 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def digits(folder: Path) -> Splits:
    """The bundled digits with a training part of `COPIES` moved copies in a random order."""
    splits = Digits().load((1, 28, 28), folder)
    images, labels = splits.train.head(len(splits.train))
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(len(labels) * COPIES, generator=generator)
    copies = torch.cat([moved(images, generator) for _ in range(COPIES)])[order]
    train = TensorSplit(copies, labels.repeat(COPIES)[order])
    return Splits(train, splits.validation, splits.test, splits.class_count, f"{splits.fingerprint} moved")


def trained(model: str, splits: Splits, folder: Path, epochs: int) -> nn.Module:
    """The network, trained with Adam at 5e-4 and a cosine; read from `folder` when it was trained before."""
    torch.manual_seed(SEED)
    network = MODELS[model]().build(splits.class_count)
    path = folder / f"{model}-{epochs}.pt"
    if path.exists():
        network.load_state_dict(torch.load(path))
        return network.eval()
    recipe = Recipe(epochs=epochs, lr=5e-4, schedule="cosine")
    device, generator = torch.device("cpu"), torch.Generator().manual_seed(SEED)
    started = time.monotonic()
    fit(
        network,
        splits.train,
        splits.validation,
        recipe,
        objective=Classification(),
        generator=generator,
        device=device,
        phase="train",
    )
    print(f"{model}: trained {epochs} epochs in {time.monotonic() - started:.0f} s")
    torch.save(network.state_dict(), path)
    return network.eval()


def method_task(network: nn.Module, splits: Splits, calibration: int = 1024) -> TrialTask:
    """What a method is handed, with a memory of its own."""
    inputs, _ = splits.train.head(calibration)
    return TrialTask(
        device=torch.device("cpu"),
        seed=SEED,
        finetune=Recipe(),
        train=splits.train,
        validation=splits.validation,
        recipe=Recipe(),
        calibration=inputs,
        example_input=inputs[:1],
        shapes=layer_shapes(network, inputs[:1]),
        class_count=splits.class_count,
        outputs=splits.output_count,
        objective=Classification(),
        memory=Memory(),
        initial=lambda step: dict(network.state_dict()),
        make=lambda name, params: (_ for _ in ()).throw(KeyError(name)),
        breathe=lambda: None,
        generator=torch.Generator().manual_seed(SEED),
    )


@torch.no_grad()
def hits(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Which of the samples the network gets right."""
    return torch.cat([network(batch).argmax(1) for batch in images.split(500)]) == labels
