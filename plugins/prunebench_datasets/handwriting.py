"""Handwritten digits and letters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench import Dataset, Splits, param

from prunebench_datasets.places import EMNIST, MNIST


@dataclass(frozen=True)
class Digits(Dataset):
    """Scikit-learn's 1,797 handwritten digits of 8×8: 997 to train, 300 to validate, 500 to test, stratified."""

    name = "digits"
    paper = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
    class_count = 10

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.digits import read_digits
        from prunebench_datasets.images import splits_of

        return splits_of(read_digits(), input_shape, self.class_count)


@dataclass(frozen=True)
class RenderedLetters(Dataset):
    """Synthetic: 26 letters of Pillow's own font, 28×28, both cases in one class, bent at random; no files, no network.

    A stand-in for EMNIST letters where that is not to be had, split in its proportions (5 : 1 : 1); as there, a capital
    I and a small L are told apart by luck alone.
    """

    name = "rendered_letters"
    class_count = 26
    per_class: int = param(560, "pictures of each letter: 560 make a tenth of EMNIST letters", at_least=3)
    distortion: float = param(1.0, "strength of the affine and elastic distortions, 0 for none", at_least=0, at_most=3)
    noise: float = param(0.08, "standard deviation of the pixel noise, white being 1", at_least=0, at_most=1)
    drawing: int = param(0, "seed of the drawing: another one is another data set", at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.images import splits_of
        from prunebench_datasets.letters import draw_letters

        parts = draw_letters(self.per_class, self.distortion, self.noise, self.drawing)
        return splits_of(parts, input_shape, self.class_count)


@dataclass(frozen=True)
class Mnist(Dataset):
    """Handwritten digits, 28×28: 55,000 to train, 5,000 to validate, 10,000 to test."""

    name = "mnist"
    paper = "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf"
    class_count = 10

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.idx import read
        from prunebench_datasets.images import splits_of

        return splits_of(read(MNIST, folder), input_shape, self.class_count)

    def available(self, folder: Path) -> bool:
        return MNIST.needs_no_network(folder)


@dataclass(frozen=True)
class EmnistLetters(Dataset):
    """Handwritten letters, both cases in one class, 28×28, stored transposed: 104,000, 20,800 and 20,800 samples."""

    name = "emnist_letters"
    paper = "https://arxiv.org/abs/1702.05373"
    class_count = 26

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.idx import read
        from prunebench_datasets.images import splits_of

        return splits_of(read(EMNIST, folder), input_shape, self.class_count)

    def available(self, folder: Path) -> bool:
        return EMNIST.needs_no_network(folder)


DATASETS: list[type[Dataset]] = [Digits, RenderedLetters, Mnist, EmnistLetters]
