"""ImageNet's validation photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench import Dataset, Splits, param


@dataclass(frozen=True)
class ImageNet(Dataset):
    """The 50,000 labelled validation photographs of ImageNet 2012, split into three, for networks trained elsewhere.

    Read from `imagenet/val/<synset>/*.JPEG` in the data folder, or from the two published archives in `imagenet/`.
    """

    name = "imagenet"
    paper = "https://arxiv.org/abs/1409.0575"
    class_count = 1000
    test: int = param(10_000, "photographs that are scored", at_least=1, at_most=49_000)
    validation: int = param(1_000, "photographs that choose; the rest trains", at_least=1, at_most=49_000)
    resize: int = param(0, "shorter side before the middle is cut out; 0 for 8/7 of the model's input", at_least=0)
    greyscale: bool = param(False, "grey, repeated over the three channels, as in the experiments of Ravan and Ebanks")
    drawing: int = param(0, "seed of the split", at_least=0)

    def check(self) -> None:
        if self.test + self.validation >= 50_000:
            raise ValueError(f"test and validation take {self.test + self.validation:,} of 50,000: leave some to train")

    def load(self, input_shape: tuple[int, int, int], folder: Path) -> Splits:
        from prunebench_datasets.imagenet import read

        return read(self, input_shape, folder)

    def available(self, folder: Path) -> bool:
        return validation_folder(folder) is not None or has_archives(folder)


ARCHIVES = ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
DATASETS: list[type[Dataset]] = [ImageNet]


def validation_folder(folder: Path) -> Path | None:
    """The folder with one sub-folder for each of the 1,000 classes, if there is one."""
    for place in (folder / "imagenet" / "val", folder / "val", folder):
        if place.is_dir() and len(class_folders(place)) == ImageNet.class_count:
            return place
    return None


def has_archives(folder: Path) -> bool:
    """Whether both published archives lie in `imagenet/`, ready to be unpacked."""
    return all((folder / "imagenet" / name).is_file() for name in ARCHIVES)


def class_folders(place: Path) -> list[Path]:
    """Sub-folders that are called as a synset is, `n01440764`; their order is that of the classes."""
    return sorted(path for path in place.glob("n????????") if path.name[1:].isdigit() and path.is_dir())
