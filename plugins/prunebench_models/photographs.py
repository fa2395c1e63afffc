"""Photographs without a download, labelled by a network of this package: why the data set lies here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench import Dataset, Splits, param


@dataclass(frozen=True)
class PhotographCrops(Dataset):
    """Crops of the photographs that scikit-learn and scikit-image ship, labelled by the dense `efficientnet_lite0`.

    Accuracy on it is agreement with that network, not truth: dense scores 1 by construction. It lets networks with
    real ImageNet weights be compared without a download. Train, validation and test are different photographs.
    """

    name = "photograph_crops"
    class_count = 1000
    crops: int = param(40, "crops of each photograph", at_least=4, at_most=2_000)
    drawing: int = param(0, "seed of the crops", at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_models.crops import read

        return read(input_shape, self.crops, self.drawing)


DATASETS: list[type[Dataset]] = [PhotographCrops]
