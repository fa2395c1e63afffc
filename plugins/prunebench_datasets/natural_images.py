"""Small colour images: CIFAR, SVHN, Tiny ImageNet, Hugging Face's Parquet layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prunebench import Dataset, Splits, param

VALIDATION = "training images that are set aside to choose by; the rest trains"
DRAWING = "seed of the split into training and validation"


@dataclass(frozen=True)
class _Cifar(Dataset):
    """Read from the binary or the Python archive of the publisher, packed or unpacked; fetched where a network is."""

    paper = "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf"
    validation: int = param(5_000, VALIDATION, at_least=1, at_most=49_999)
    drawing: int = param(0, DRAWING, at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.cifar import read
        from prunebench_datasets.image_split import splits_of

        train, test = read(self.name, folder)
        assert self.class_count is not None
        return splits_of(train, test, input_shape, self.class_count, self.validation, self.drawing)

    def available(self, folder: Path) -> bool:
        from prunebench_datasets.places import has_cifar

        return has_cifar(self.name, folder)


@dataclass(frozen=True)
class Cifar10(_Cifar):
    """CIFAR-10 (Krizhevsky, 2009): 32×32 colour images of 10 kinds, 50,000 to train and validate, 10,000 to test."""

    name = "cifar10"
    class_count = 10


@dataclass(frozen=True)
class Cifar100(_Cifar):
    """CIFAR-100 (Krizhevsky, 2009): 32×32 colour images of 100 kinds, 50,000 to train and validate, 10,000 to test."""

    name = "cifar100"
    class_count = 100


@dataclass(frozen=True)
class Svhn(Dataset):
    """Street View House Numbers (Netzer et al., 2011), 32×32: 73,257 to train and validate, 26,032 to test."""

    name = "svhn"
    paper = "http://ufldl.stanford.edu/housenumbers/nips2011_housenumbers.pdf"
    class_count = 10
    validation: int = param(6_000, VALIDATION, at_least=1, at_most=73_256)
    drawing: int = param(0, DRAWING, at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.image_split import splits_of
        from prunebench_datasets.svhn import read

        train, test = read(folder)
        return splits_of(train, test, input_shape, self.class_count, self.validation, self.drawing)

    def available(self, folder: Path) -> bool:
        from prunebench_datasets.places import svhn_files

        return all(svhn_files(folder))


@dataclass(frozen=True)
class TinyImageNet(Dataset):
    """Tiny ImageNet (Le and Yang, 2015): 64×64, 200 kinds, 100,000 to train and validate, 10,000 to test.

    The published validation images are the test split, for the labels of the published test images are secret.
    Read from `tiny-imagenet-200/` or `tiny-imagenet-200.zip` in the data folder.
    """

    name = "tiny_imagenet"
    paper = "http://cs231n.stanford.edu/reports/2015/pdfs/yle_project.pdf"
    class_count = 200
    validation: int = param(5_000, VALIDATION, at_least=1)
    drawing: int = param(0, DRAWING, at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.image_split import splits_of
        from prunebench_datasets.tiny_imagenet import read

        train, test = read(folder)
        return splits_of(train, test, input_shape, self.class_count, self.validation, self.drawing)

    def available(self, folder: Path) -> bool:
        return any((folder / name).exists() for name in ("tiny-imagenet-200", "tiny-imagenet-200.zip"))


@dataclass(frozen=True)
class HfImages(Dataset):
    """Parquet files of images and labels in the layout of Hugging Face's `datasets`; nothing is fetched.

    `folder` holds `train-*.parquet` and `test-*.parquet` (or `validation-*.parquet`), below it or in `data/`.
    """

    name = "hf_images"
    paper = "https://huggingface.co/docs/datasets/image_dataset"
    class_count: ClassVar[int] = 0  # as many as the files say
    folder: str = param("hf_images", "the folder with the Parquet files; relative ones lie in the data folder")
    image: str = param("image", "column of the images: structs of `bytes`, or bytes")
    label: str = param("label", "column of the labels, whole numbers from 0")
    validation_share: float = param(0.1, "share of the training images that choose", above=0, below=1)
    drawing: int = param(0, DRAWING, at_least=0)

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.hf_images import read
        from prunebench_datasets.image_split import splits_of

        train, test = read(folder / self.folder, self.image, self.label, input_shape)
        count = 1 + int(max(train.labels.max(), test.labels.max()))
        validation = max(1, round(self.validation_share * len(train.labels)))
        return splits_of(train, test, input_shape, count, validation, self.drawing)

    def available(self, folder: Path) -> bool:
        return any((folder / self.folder).glob("**/train-*.parquet"))


@dataclass(frozen=True)
class ImageFolder(Dataset):
    """A folder of images for each class, of any sizes and formats that Pillow reads; nothing is fetched.

    `folder` holds the class folders, of which each split takes its share at random, or `train` and `test` (or `val`)
    with the class folders in each. Images are resized to the model's input and held in memory as bytes. Grey ones
    repeat their channel for a colour model, transparent ones stand on white, other files are passed over.
    """

    name = "image_folder"
    class_count: ClassVar[int] = 0  # as many as there are folders
    folder: str = param("image_folder", "the folder of the class folders; relative ones lie in the data folder")
    size: int = param(0, "side in pixels, for models that take any; 0 where all images are of one size", at_least=0)
    validation_share: float = param(0.1, "share of each class that chooses", above=0, below=1)
    test_share: float = param(0.2, "share of each class that tests, where there is no folder `test`", above=0, below=1)
    drawing: int = param(0, "seed of the split", at_least=0)

    def check(self) -> None:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share together leave nothing to train: they must be below 1")

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.image_folder import read

        return read(self, input_shape, folder / self.folder)

    def available(self, folder: Path) -> bool:
        from prunebench_datasets.places import has_images

        return has_images(folder / self.folder)


DATASETS: list[type[Dataset]] = [Cifar10, Cifar100, Svhn, TinyImageNet, HfImages, ImageFolder]
