"""The papers whose tables and figures are redone whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prunebench import Chart, Paper

HERE = Path(__file__).parent


@dataclass(frozen=True)
class RavanEbanks2024(Paper):
    """Figures 4 to 8: randomized multiplication, principal components and low rank on two FCNs and three CNNs."""

    name = "ravan-ebanks-2024"
    title = "Pruning Neural Networks with Matrix Methods"
    citation = "Ravan, Ebanks: Pruning Neural Networks with Matrix Methods. Project report, 2024."
    paper = "https://yravan.github.io/projects/18065"
    folder = HERE / "ravan_ebanks_2024"
    columns = (
        "figure",
        "dataset",
        "model",
        "method",
        "parameter",
        "value",
        "top1_percent",
        "top1_std",
        "test_set_ms",
        "test_set_ms_std",
    )

    def figures(self) -> Sequence[type[Chart]]:
        """Figures 4 to 8 and Garg's analysis."""
        from prunebench_papers.ravan_ebanks_2024.figures import FIGURES  # altair wakes only for a page

        return FIGURES


@dataclass(frozen=True)
class Rohlicek2020(Paper):
    """Tables 1 to 4: magnitude pruning, SVD and CP of a LeNet on letters, nineteen rows."""

    name = "rohlicek-2020"
    title = "Neural Network Parameter Reduction Using Pruning and Matrix Decomposition"
    citation = "Rohlicek: Neural Network Parameter Reduction Using Pruning and Matrix Decomposition. 2020."
    paper = "https://github.com/crohlicek/model_size_reduction"
    folder = HERE / "rohlicek_2020"
    columns = ("table", "method", "section", "setting", "setting_unit", "parameters", "epochs", "top1_percent")


@dataclass(frozen=True)
class Denton2014(Paper):
    """The table of compressed layers: SVD of the linear ones, monochromatic and bi-clustered convolutions."""

    name = "denton-2014"
    title = "Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation"
    citation = (
        "Denton, Zaremba, Bruna, LeCun, Fergus: Exploiting Linear Structure Within Convolutional Networks for "
        "Efficient Evaluation. NIPS 2014."
    )
    paper = "https://arxiv.org/abs/1404.0736"
    folder = HERE / "denton_2014"
    columns = ("layer", "method", "rank", "inputs", "outputs", "weight_reduction", "error_increase_percent")


PAPERS: list[type[Paper]] = [RavanEbanks2024, Rohlicek2020, Denton2014]
