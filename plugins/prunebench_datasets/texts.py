"""Text for language models: any file, what an installed package carries, and the three corpora of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench import Dataset, Model, Splits, param

if TYPE_CHECKING:
    from prunebench import Tokenizer

WINDOW = "tokens of a window; 0 for the model's own"
STRIDE = "tokens from one test window to the next; 0 for as many as a window has, so that none is read twice"
TEST = "test windows at most, from the start; 0 for all: fewer are not comparable with published numbers"
TRAIN = "training windows at most; 0 for all"


@dataclass(frozen=True)
class _Windows(Dataset):
    """Text as windows of tokens in the model's own vocabulary; without a tokenizer of the model's, of bytes."""

    objective = "language_modelling"
    window: int = param(0, WINDOW, at_least=0, unit="tokens")
    stride: int = param(0, STRIDE, at_least=0, unit="tokens")
    test_windows: int = param(0, TEST, at_least=0)

    def check(self) -> None:
        if self.window and self.stride > self.window:
            raise ValueError(f"stride {self.stride} is longer than the window {self.window}: tokens would be left out")

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        return self._windows(None, input_shape, folder)

    def load_for(self, model: Model, folder: Path) -> Splits:
        return self._windows(model.tokenizer(), model.input_shape, folder)

    def available(self, folder: Path) -> bool:
        from prunebench_datasets.corpora import is_here

        return is_here(self, folder)

    def _windows(self, tokenizer: Tokenizer | None, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        from prunebench_datasets.windows import splits_of

        return splits_of(self, tokenizer, input_shape, folder)


@dataclass(frozen=True)
class Text(_Windows):
    """Text from files or from an installed package, in pieces of 8,192 characters: of ten, eight train and one tests.

    A path is a UTF-8 text file, or a folder whose .txt files are read in the order of their names. Of a package its
    .txt files are read or, of a module, its longer string constants; none of its code is run. Python itself carries
    English prose in `pydoc_data.topics`. With `test_path` or `test_package` the whole of another text is the test.
    """

    name = "text"
    path: str = param("", "a text file, or a folder of .txt files; relative paths are taken from the data folder")
    package: str = param("", "an installed module or package with text in it; without a path, pydoc_data.topics")
    test_path: str = param("", "another text that is the test, so that it differs from what calibrates")
    test_package: str = param("", "the same from an installed package")

    def check(self) -> None:
        super().check()
        if (self.path and self.package) or (self.test_path and self.test_package):
            raise ValueError("name a path or a package, not both")


@dataclass(frozen=True)
class WikiText2(_Windows):
    """WikiText-2, raw (Merity et al., 2016): lines joined by two newlines, windows one after another, tail dropped.

    Read from `wikitext-2-raw/wiki.{train,valid,test}.raw` in the data folder, as published, or from the Parquet files
    of `wikitext-2-raw-v1`, which are fetched where neither is there and a network is. This is the perplexity that
    papers on pruning mean, at a window of 2,048 tokens.
    """

    name = "wikitext2"
    paper = "https://arxiv.org/abs/1609.07843"


@dataclass(frozen=True)
class C4(_Windows):
    """C4, English (Raffel et al., 2019), as papers use it: first shards; the first 1,100 documents test, 256 windows.

    Read from `c4/en/c4-train.00000-of-01024.json.gz` and `c4/en/c4-validation.00000-of-00008.json.gz`, fetched where
    they are not there and a network is. Training windows are drawn from documents that are longer, at random places, by
    a generator that starts at `drawing`.
    """

    name = "c4"
    paper = "https://arxiv.org/abs/1910.10683"
    train_windows: int = param(256, TRAIN, at_least=1)
    drawing: int = param(0, "seed of the places that training windows are taken from", at_least=0)


@dataclass(frozen=True)
class Ptb(_Windows):
    """Penn Treebank in Mikolov's form: sentences joined by a space.

    Read from `ptb/ptb.{train,valid,test}.txt` in the data folder, fetched where they are not there and a network is.
    Rare words are `<unk>` in it, which no tokenizer of today knows: perplexities are high and compare only with others
    of the same text.
    """

    name = "ptb"


DATASETS: list[type[Dataset]] = [Text, WikiText2, C4, Ptb]
