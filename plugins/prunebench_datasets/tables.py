"""Tables that scikit-learn carries: classes of tumours and wines, and numbers that a regression predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prunebench import Dataset, Splits


@dataclass(frozen=True)
class _Table(Dataset):
    """A table in scikit-learn's folder; columns, and numbers to predict, have mean 0 and variance 1 in training."""

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        """60 % of the rows for training, 20 % each for validation and testing, the same ones every time."""
        from prunebench_datasets.tables_reading import splits_of

        return splits_of(self, input_shape)


@dataclass(frozen=True)
class BreastCancer(_Table):
    """569 tumours, 30 measurements each, malignant or benign (Wolberg et al., 1995; in scikit-learn)."""

    name = "breast_cancer"
    paper = "https://doi.org/10.24432/C5DW2B"
    class_count = 2


@dataclass(frozen=True)
class Wine(_Table):
    """178 wines of three growers, 13 measurements each (Aeberhard and Forina, 1991; in scikit-learn)."""

    name = "wine"
    paper = "https://doi.org/10.24432/C5PC7J"
    class_count = 3


@dataclass(frozen=True)
class Diabetes(_Table):
    """442 patients, 10 measurements each, and how their disease went on after a year (Efron et al., 2004)."""

    name = "diabetes"
    paper = "https://arxiv.org/abs/math/0406456"
    objective = "regression"


@dataclass(frozen=True)
class Friedman(Dataset):
    """4,000 rows of ten uniform numbers, of which five make the target: Friedman's first function (1991).

    Made up, so that a regression of some size needs no download. The target is
    10 sin(π a b) + 20 (c - 1/2)² + 10 d + 5 e with noise of standard deviation 1: no answer has an r2 above 0.96.
    """

    name = "friedman"
    paper = "https://doi.org/10.1214/aos/1176347963"
    objective = "regression"
    rows: ClassVar[int] = 4000

    def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
        """60 % of the rows for training, 20 % each for validation and testing."""
        from prunebench_datasets.tables_reading import friedman

        return friedman(self, input_shape, self.rows)


DATASETS: list[type[Dataset]] = [BreastCancer, Wine, Diabetes, Friedman]
