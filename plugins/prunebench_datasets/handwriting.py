"""Handwritten digits and letters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench import Dataset, Splits


@dataclass(frozen=True)
class Digits(Dataset):
    """Scikit-learn's 1,797 handwritten digits of 8×8: 997 to train, 300 to validate, 500 to test, stratified."""

    name = "digits"
    paper = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
    class_count = 10

    def load(self, input_shape: tuple[int, int, int], folder: Path) -> Splits:
        from prunebench_datasets.digits import read_digits
        from prunebench_datasets.images import splits_of

        return splits_of(read_digits(), input_shape, self.class_count)


DATASETS: list[type[Dataset]] = [Digits]
