"""A tokenizer of the `tokenizers` library as a data set wants it: tokens, and the bytes that each stands for."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor


class Vocabulary:
    """Tokens by a fast tokenizer; `begins` says whether it puts a token of its own before the text."""

    def __init__(self, name: str, coder: Any) -> None:
        self.name = name
        self.coder = coder  # tokenizers.Tokenizer
        self.sha256 = hashlib.sha256(coder.to_str().encode()).hexdigest()
        self.size = int(coder.get_vocab_size(with_added_tokens=True))
        self.begins = bool(coder.encode("a").special_tokens_mask[0])

    def encode(self, text: str) -> tuple[Tensor, Tensor]:
        """Tokens (N,) of the whole text, and the bytes (N,) of UTF-8 that each stands for; they add up to the text's.

        Bytes of a character that is cut into several tokens count with the first of them.
        """
        found = self.coder.encode(text)
        width = torch.tensor([len(character.encode()) for character in text], dtype=torch.long)
        ends = torch.cat([torch.zeros(1, dtype=torch.long), width.cumsum(0)])  # bytes before each character
        reached = ends[torch.tensor([end for _, end in found.offsets], dtype=torch.long)].cummax(0).values
        sizes = reached.diff(prepend=torch.zeros(1, dtype=torch.long))
        return torch.tensor(found.ids, dtype=torch.long), sizes
