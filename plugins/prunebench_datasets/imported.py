"""Data of one's own in a grid, by the name of the function that loads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench import DataError, Dataset, PruneBenchError, Splits, Target, param


@dataclass(frozen=True, kw_only=True)
class Import(Dataset):
    """Data that `target` loads: `{ use = "import", target = "package.module:function" }`.

    The function gets `arguments`, and `folder` (where data sets lie) where it has a parameter of that name. It returns
    (inputs, targets) as tensors, a DataLoader, a torch data set of pairs, or prunebench's `Splits`; to say what to
    score on, a table {"train": …, "test": …} of two of these. The text of its module is part of a trial's identity.
    """

    name = "import"
    target: str = param(doc="package.module:function or folder/file.py:function, from the folder where bench starts")
    arguments: dict[str, Any] | None = param(None, "what the function is called with, as a table")
    objective: str = param("classification", "what networks are trained for and scored by: an installed objective")  # type: ignore[misc]
    outputs: int = param(0, "classes, or numbers that a network answers; 0: as the targets show", at_least=0)

    def named_code(self) -> str:
        """Of the target's module."""
        return Target(self.target).code()

    def check(self) -> None:
        Target(self.target).check()

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        """The splits as the function has them: nothing is resized; raises `DataError` for another shape."""
        from prunebench import samples, splits_from

        found = Target(self.target).call(self.arguments or {}, folder=folder)
        train, test = found, None
        if isinstance(found, dict) and found.keys() == {"train", "test"}:
            train, test = found["train"], found["test"]
        try:
            found = splits_from(train, objective=self.objective, test=test, outputs=self.outputs or None)
        except PruneBenchError as error:
            raise DataError(f"{self.target}: {error}") from None
        shapes = [tuple(leaf.shape[1:]) for leaf in samples.leaves(found.train.head(1)[0])]
        if input_shape is not None and shapes != [tuple(input_shape)]:
            raise DataError(f"{self.target}: samples are {', '.join(map(str, shapes))}, the model reads {input_shape}")
        return found


DATASETS: list[type[Dataset]] = [Import]
