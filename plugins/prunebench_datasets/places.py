"""Where the files of MNIST and EMNIST lie; no torch, so that asking costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
