"""Where the files of MNIST and EMNIST lie; no torch, so that asking costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath


@dataclass(frozen=True)
class Source:
    """Where a data set's four files lie below the data folder, and how its split and labels are made."""

    title: str
    folders: tuple[str, ...]  # searched in this order; a download goes to the first
    train: str  # prefix of the two training files
    test: str
    validation_share: int  # one part in so many of the training files validates
    first_label: int
    archive: str = ""  # all files in one, which torchvision unpacks

    def file(self, folder: Path, name: str) -> Path | None:
        """The file `name` or `name`.gz, wherever it lies."""
        places = (folder / below / (name + end) for below in self.folders for end in ("", ".gz"))
        return next((place for place in places if place.is_file()), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The four files, without .gz."""
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        return tuple(f"{prefix}-{kind}" for prefix in (self.train, self.test) for kind in kinds)

    def is_here(self, folder: Path) -> bool:
        """Whether all four files are there."""
        return all(self.file(folder, name) for name in self.names)

    def needs_no_network(self, folder: Path) -> bool:
        """Whether the files are there, or the archive to make them of."""
        return self.is_here(folder) or (bool(self.archive) and (folder / self.archive).is_file())


MNIST = Source("MNIST", ("MNIST/raw", "mnist", "."), "train", "t10k", validation_share=12, first_label=0)
EMNIST = Source(
    title="EMNIST letters",
    folders=("EMNIST/raw", "EMNIST/raw/gzip", "emnist", "emnist/gzip", "gzip", "."),
    train="emnist-letters-train",
    test="emnist-letters-test",
    validation_share=6,
    first_label=1,
    archive="EMNIST/raw/gzip.zip",
)


@dataclass(frozen=True)
class CifarSource:
    """Where the archives of CIFAR-10 or CIFAR-100 lie, packed or unpacked."""

    url: str
    binary: tuple[str, ...]  # folder and archive of the binary form
    python: tuple[str, ...]

    def found(self, folder: Path) -> list[tuple[Path, bool]]:
        """The places that exist, and whether each is of the binary form; binary first."""
        places = [(folder / name, True) for name in self.binary] + [(folder / name, False) for name in self.python]
        return [(place, is_binary) for place, is_binary in places if place.exists()]


CIFAR = {
    "cifar10": CifarSource(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ("cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    ),
    "cifar100": CifarSource(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        ("cifar-100-binary", "cifar-100-binary.tar.gz"),
        ("cifar-100-python", "cifar-100-python.tar.gz"),
    ),
}


def has_cifar(name: str, folder: Path) -> bool:
    """Whether an archive or a folder of `name` is there."""
    return bool(CIFAR[name].found(folder))


def svhn_files(folder: Path) -> tuple[Path | None, Path | None]:
    """The training and the test file of SVHN, in the data folder or in `svhn/` below it."""
    names = ("train_32x32.mat", "test_32x32.mat")
    found = [[place / name for place in (folder, folder / "svhn") if (place / name).is_file()] for name in names]
    train, test = (files[0] if files else None for files in found)
    return train, test


ENDINGS = "apng avif bmp gif jpe jpeg jpg jp2 pbm pgm png pnm ppm tga tif tiff webp"
IMAGES = frozenset(f".{ending}" for ending in ENDINGS.split())


def is_image_name(name: str) -> bool:
    """Whether a file calls itself an image."""
    return not name.startswith(".") and PurePath(name).suffix.lower() in IMAGES


def has_images(folder: Path) -> bool:
    """Whether there is an image in a folder below `folder`."""
    return any(is_image_name(path.name) for path in folder.glob("*/**/*"))
