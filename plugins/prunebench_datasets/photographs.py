"""ImageNet's validation photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prunebench import Dataset, Splits, param

from prunebench_datasets.synsets import CLASS_COUNT, has_archives, validation_folder


@dataclass(frozen=True)
class ImageNet(Dataset):
    """The 50,000 labelled validation photographs of ImageNet 2012, split into three, for networks trained elsewhere.

    Read from `imagenet/val/<synset>/*.JPEG` in the data folder, or from the two published archives in `imagenet/`.
    """

    name = "imagenet"
    paper = "https://arxiv.org/abs/1409.0575"
    class_count = CLASS_COUNT
    test: int = param(10_000, "photographs that are scored", at_least=1, at_most=49_000)
    validation: int = param(1_000, "photographs that choose; the rest trains", at_least=1, at_most=49_000)
    resize: int = param(0, "shorter side before the middle is cut out; 0 for 8/7 of the model's input", at_least=0)
    greyscale: bool = param(False, "grey, repeated over the three channels, as in the experiments of Ravan and Ebanks")
    drawing: int = param(0, "seed of the split", at_least=0)

    def check(self) -> None:
        if self.test + self.validation >= 50_000:
            raise ValueError(f"test and validation take {self.test + self.validation:,} of 50,000: leave some to train")

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.imagenet import Drawing, read

        drawing = Drawing(self.test, self.validation, self.resize, self.greyscale, self.drawing)
        return read(drawing, input_shape, folder)

    def available(self, folder: Path) -> bool:
        return validation_folder(folder) is not None or has_archives(folder)


DATASETS: list[type[Dataset]] = [ImageNet]
