"""From text to windows of tokens with the bytes that they stand for, by the protocol that papers on pruning share.

A split is one text, tokenized once, the tokenizer's own first token at its very start and nowhere else. Windows follow
one another; a shorter one at the end is dropped. In a window of L tokens, tokens 1 to L − 1 are predicted from those
before them, so the mean over windows of equal length is the mean over tokens.
"""

from __future__ import annotations

import hashlib
import random
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from prunebench import DataError, Splits, TensorSplit
from torch import Tensor

from prunebench_datasets import corpora
from prunebench_datasets.corpora import Corpus

if TYPE_CHECKING:
    from prunebench import Tokenizer

IGNORED = -100  # a target that is not scored
DEFAULT_WINDOW = 256
C4_TEST_WINDOWS = 256
DRAWS = 50_000  # documents looked at for one that is long enough


class Tokens(NamedTuple):
    """Tokens (N,) int64 and the bytes of text (N,) int64 that each stands for."""

    ids: Tensor
    bytes: Tensor


class Bytes:
    """Each byte of UTF-8 is a token."""

    name = "bytes"
    size = 256
    sha256 = hashlib.sha256(b"bytes").hexdigest()
    begins = False

    def encode(self, text: str) -> tuple[Tensor, Tensor]:
        """Tokens and the byte that each is."""
        data = text.encode()
        ids = torch.frombuffer(bytearray(data), dtype=torch.uint8).long() if data else torch.zeros(0, dtype=torch.long)
        return ids, torch.ones_like(ids)


def splits_of(data: Any, tokenizer: Tokenizer | None, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
    """The data set's windows in the tokenizer's vocabulary."""
    coder = tokenizer or Bytes()
    length = _length(data.window, input_shape)
    if data.stride > length:
        raise DataError(f"stride {data.stride} is longer than the window {length}: tokens would be left out")
    train, validation, test, corpus = _parts(data, coder, length, folder)
    test = test[: data.test_windows] if data.test_windows else test
    kept, removed = without(train, test)
    parts = (as_split(kept, length, 0), as_split(validation, length, 0), as_split(test, length, data.stride))
    for name, part in zip(("training", "test"), (parts[0], parts[2]), strict=True):
        if not len(part):
            raise DataError(f"the {name} text is shorter than a window of {length} tokens: use a shorter window")
    facts = _facts(data, coder, length, corpus, removed, parts)
    found = fingerprint(parts, facts)  # of these facts alone: it is what it was before the others were told
    told = {**facts, "split": corpus.split, "calibration_corpus": corpus.calibration, "calibration_split": "train"}
    return Splits(*parts, fingerprint=found, outputs=coder.size, facts=told)


def _length(window: int, input_shape: tuple[int, ...] | None) -> int:
    known = input_shape[0] if input_shape is not None and len(input_shape) == 1 else None
    if input_shape is not None and known is None:
        raise DataError(f"text comes as windows (T,) of tokens, the model takes {input_shape}: use a language model")
    if known is not None and window > known:
        raise DataError(f"a window of {window} tokens is longer than the model's, {known}")
    length = window or known or DEFAULT_WINDOW
    if length < 2:
        raise DataError(f"a window needs at least 2 tokens, got {length}")
    return length


Windows = list[tuple[Tensor, Tensor]]


def _parts(data: Any, coder: Tokenizer, length: int, folder: Path) -> tuple[Windows, Windows, Windows, Corpus]:
    if data.name == "c4":
        return _c4_parts(data, coder, length, folder)
    if data.name == "text":
        corpus = corpora.text_corpus(data.path, data.package, data.test_path, data.test_package, folder)
    else:
        corpus = {"wikitext2": corpora.wikitext2, "ptb": corpora.ptb}[data.name](folder)
    train, validation = (in_windows(tokens_of(coder, text), length, length) for text in corpus[:2])
    test = in_windows(tokens_of(coder, corpus.test), length, data.stride or length)
    return train, validation, test, corpus


def tokens_of(coder: Tokenizer, text: str) -> Tokens:
    """The text's tokens as int64."""
    ids, sizes = coder.encode(text)
    return Tokens(torch.as_tensor(ids, dtype=torch.long), torch.as_tensor(sizes, dtype=torch.long))


def in_windows(tokens: Tokens, length: int, stride: int) -> Windows:
    """Windows of `length` tokens, one every `stride`; what is left at the end is dropped."""
    starts = range(0, len(tokens.ids) - length + 1, stride)
    return [(tokens.ids[s : s + length], tokens.bytes[s : s + length]) for s in starts]


def _c4_parts(data: Any, coder: Tokenizer, length: int, folder: Path) -> tuple[Windows, Windows, Windows, Corpus]:
    """Training windows from long documents at random places; test and validation from the validation shard."""
    documents = list(corpora.c4_documents(folder, corpora.C4_TRAIN))
    held = list(islice(corpora.c4_documents(folder, corpora.C4_VALIDATION), 2 * corpora.TEST_DOCUMENTS))
    train = _drawn(documents, coder, length, data.train_windows, random.Random(data.drawing))
    texts = [" ".join(part) for part in (held[corpora.TEST_DOCUMENTS :], held[: corpora.TEST_DOCUMENTS])]
    validation = in_windows(tokens_of(coder, texts[0]), length, length)[:C4_TEST_WINDOWS]
    test = in_windows(tokens_of(coder, texts[1]), length, data.stride or length)[:C4_TEST_WINDOWS]
    return (
        train,
        validation,
        test,
        Corpus("", "", "", "space", "c4 en, first shards", False, "validation, 1,100 documents", "c4 en, first shard"),
    )


def _drawn(documents: list[str], coder: Tokenizer, length: int, count: int, draws: random.Random) -> Windows:
    found: Windows = []
    for _ in range(DRAWS):
        if len(found) == count:
            return found
        tokens = tokens_of(coder, documents[draws.randrange(len(documents))])
        if len(tokens.ids) > length:
            start = draws.randrange(len(tokens.ids) - length)
            found.append((tokens.ids[start : start + length], tokens.bytes[start : start + length]))
    raise DataError(f"C4: only {len(found)} of {count} windows of {length} tokens: documents are too short")


def without(train: Windows, test: Windows) -> tuple[Windows, int]:
    """The training windows that are not in the test as well, and how many were."""
    known = {_key(ids) for ids, _ in test}
    kept = [window for window in train if _key(window[0]) not in known]
    return kept, len(train) - len(kept)


def _key(ids: Tensor) -> bytes:
    return hashlib.sha256(ids.numpy().tobytes()).digest()


def as_split(windows: Windows, length: int, stride: int) -> TensorSplit:
    """Inputs (N, T) and targets: tokens (N, T), the next of each, and the bytes (N,) that the scored ones stand for.

    With a stride shorter than the window only tokens that no earlier window has scored are.
    """
    if not windows:
        none = torch.zeros(0, length, dtype=torch.long)
        return TensorSplit(none, {"tokens": none, "bytes": torch.zeros(0, dtype=torch.long)})
    ids, sizes = (torch.stack(column) for column in zip(*windows, strict=True))
    targets = torch.cat([ids[:, 1:], torch.full((len(ids), 1), IGNORED)], 1)
    if stride and stride < length:
        targets[1:, : length - 1 - stride] = IGNORED
    scored = torch.where(targets != IGNORED, sizes.roll(-1, 1), 0)
    return TensorSplit(ids, {"tokens": targets, "bytes": scored.sum(1)})


def _facts(data: Any, coder: Tokenizer, length: int, corpus: Corpus, removed: int, parts: Any) -> dict[str, Any]:
    """The protocol of the perplexity: two numbers compare where these are equal."""
    train, _, test = parts
    return {
        "corpus": corpus.source,
        "join": corpus.join,
        "tokenizer": coder.name,
        "tokenizer_sha256": coder.sha256,
        "first_token": coder.begins,
        "window": length,
        "stride": data.stride or length,
        "tail": "dropped",
        "test_windows": len(test),
        "test_tokens": int((test.targets["tokens"] != IGNORED).sum()),
        "partial": bool(data.test_windows),
        "calibration_windows": len(train),
        "calibration": "other windows of the test's corpus" if corpus.is_one else "another text than the test",
        "overlap_removed": removed,
    }


def fingerprint(parts: Any, facts: dict[str, Any]) -> str:
    """SHA-256 over all windows and over what made them."""
    digest = hashlib.sha256(repr(sorted(facts.items())).encode())
    for part in parts:
        digest.update(part.inputs.numpy().tobytes() + part.targets["tokens"].numpy().tobytes())
    return digest.hexdigest()
