"""A grid file: TOML in, `Grid` out. Pure: loads no plugin, runs nothing, counts without expanding.

A grid is a union of blocks; a block is the product of its data sets, models, seeds and methods; an entry such as
`{ use = "magnitude", keep = [0.1, 0.5], section = ["fc", "conv"] }` is the product of its own axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from prunebench.errors import GridError
from prunebench.grid.axes import UnknownKeys
from prunebench.grid.blocks import Block
from prunebench.grid.file import Claim, Reader, table_of, text_of
from prunebench.grid.protocols import RunOptions
from prunebench.records import NAME, Protocol

TRIAL_LIMIT = 100_000


@dataclass(frozen=True)
class Grid:
    """What a grid file says."""

    name: str
    blocks: tuple[Block, ...]
    protocol: Protocol = Protocol()
    options: RunOptions = RunOptions()
    claims: tuple[Claim, ...] = ()
    scale: str = ""
    title: str = ""
    text: str = ""  # the TOML it was read from
    source: str = ""  # the file or paper, for messages
    warnings: tuple[str, ...] = ()
    variants: tuple[Protocol, ...] = ()  # one per further value that a key such as `latency.runtime` lists
    recipes: tuple[tuple[str, str], ...] = ()  # ("train", "cifar-200") for each part that names one

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """One, or one per combination of what its keys list."""
        return (self.protocol, *self.variants)

    @property
    def count(self) -> int:
        """Cells before exclusions and duplicates."""
        return sum(block.count for block in self.blocks) * len(self.protocols)

    @classmethod
    def load(cls, path: str | Path) -> Grid:
        """The grid in a TOML file; every fault is a `GridError` that names the file and the place."""
        path = Path(path)
        return cls.parse(text_of(path), name=_file_name(path), source=str(path))

    @classmethod
    def parse(cls, text: str, name: str = "grid", source: str = "grid") -> Grid:
        """The grid in a TOML text; `name` is used where the text gives none."""
        try:
            return cls(**Reader().parts(table_of(text, source), name), text=text, source=source)
        except GridError as error:
            prefix = "" if str(error).startswith(source) else f"{source}: "
            if isinstance(error, UnknownKeys):
                raise UnknownKeys(f"{prefix}{error}", error.blocks) from None
            raise GridError(f"{prefix}{error}") from None


def _file_name(path: Path) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)
    return stem if NAME.fullmatch(stem) else "grid"
