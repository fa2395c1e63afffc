"""Drawn shapes to be found, made up where they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prunebench import Dataset, Splits, param


@dataclass(frozen=True)
class DrawnShapes(Dataset):
    """Grey 32×32 images with one to three squares, discs and triangles on noise: what and where are they?

    Made up, so that a detector can be trained in seconds without a download: 1,000 images to train, 200 to validate,
    400 to test.
    """

    name = "drawn_shapes"
    objective = "detection"
    counts: ClassVar[tuple[int, int, int]] = (1000, 200, 400)
    noise: float = param(0.1, "standard deviation of the noise; shapes are 0.4 to 1 brighter", at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        """The splits; raises `DataError` for models of another shape."""
        from prunebench_datasets.drawings_drawn import splits_of

        return splits_of(self.counts, self.noise, input_shape)


DATASETS: list[type[Dataset]] = [DrawnShapes]
