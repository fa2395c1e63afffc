"""Papers on language models: published perplexities with their protocol, and the order of methods as claims."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prunebench import Paper

HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Language(Paper):
    """A table of perplexities, each beside ours of the same method and amount."""

    columns = ("table", "model", "method", "keep", "pattern", "bits", "perplexity")
    methods: ClassVar[tuple[str, ...]]  # whose trials are laid beside the published numbers

    def comparison_template(self) -> str:
        """The SQL that all papers of this kind share, over this paper's methods."""
        listed = ", ".join(f"'{name}'" for name in ("dense", *self.methods))
        return (HERE / "language.sql").read_text(encoding="utf-8").replace("$methods", listed)


@dataclass(frozen=True)
class Frantar2022(_Language):
    """GPTQ rounds weights column by column and loses less than rounding to nearest, above all at 3 bits."""

    name = "frantar-2022"
    title = "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
    citation = (
        "Frantar, Ashkboos, Hoefler, Alistarh: "
        "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers. ICLR 2023, arXiv 2022."
    )
    paper = "https://arxiv.org/abs/2210.17323"
    folder = HERE / "frantar_2022"
    methods = (
        "rtn",
        "gptq",
    )


@dataclass(frozen=True)
class Frantar2023(_Language):
    """SparseGPT zeroes half the weights of a language model in one shot, far ahead of magnitude pruning."""

    name = "frantar-2023"
    title = "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot"
    citation = "Frantar, Alistarh: SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot. ICML 2023."
    paper = "https://arxiv.org/abs/2301.00774"
    folder = HERE / "frantar_2023"
    methods = (
        "magnitude",
        "sparsegpt",
    )


@dataclass(frozen=True)
class Sun2024(_Language):
    """Wanda zeroes weights by their size times the norm of their input, without any update."""

    name = "sun-2024"
    title = "A Simple and Effective Pruning Approach for Large Language Models"
    citation = "Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models. ICLR 2024."
    paper = "https://arxiv.org/abs/2306.11695"
    folder = HERE / "sun_2024"
    methods = (
        "magnitude",
        "wanda",
        "sparsegpt",
    )


@dataclass(frozen=True)
class Ashkboos2024(_Language):
    """SliceGPT rotates the residual stream and cuts its width; here with one rotation, and beside its baseline."""

    name = "ashkboos-2024"
    title = "SliceGPT: Compress Large Language Models by Deleting Rows and Columns"
    citation = (
        "Ashkboos, Croci, do Nascimento, Hoefler, Hensman: "
        "SliceGPT: Compress Large Language Models by Deleting Rows and Columns. ICLR 2024."
    )
    paper = "https://arxiv.org/abs/2401.15024"
    folder = HERE / "ashkboos_2024"
    methods = ("sparsegpt", "slice_residual")


@dataclass(frozen=True)
class Wang2025(_Language):
    """SVD of the weights times a root of their inputs' moments loses less than plain or scaled SVD."""

    name = "wang-2025"
    title = "SVD-LLM: Truncation-aware Singular Value Decomposition for Large Language Model Compression"
    citation = (
        "Wang, Zheng, Wan, Zhang: "
        "SVD-LLM: Truncation-aware Singular Value Decomposition for Large Language Model Compression. ICLR 2025."
    )
    paper = "https://arxiv.org/abs/2403.07378"
    folder = HERE / "wang_2025"
    methods = (
        "whitened_svd",
        "asvd",
        "fisher_svd",
    )


@dataclass(frozen=True)
class Meng2024(_Language):
    """ALPS finds masks by ADMM and refits them; the gain over SparseGPT grows with sparsity."""

    name = "meng-2024"
    title = "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models"
    citation = (
        "Meng, Behdin, Wang, Mazumder: "
        "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models. NeurIPS 2024."
    )
    paper = "https://arxiv.org/abs/2406.07831"
    folder = HERE / "meng_2024"
    methods = (
        "magnitude",
        "wanda",
        "sparsegpt",
        "alps",
    )


@dataclass(frozen=True)
class Lin2025(_Language):
    """MoDeGPT narrows MLPs and heads by joint decompositions of the matrices that belong together."""

    name = "lin-2025"
    title = "MoDeGPT: Modular Decomposition for Large Language Model Compression"
    citation = (
        "Lin, Gao, Smith, Patel, Tuli, Shen, Jin, Hsu: "
        "MoDeGPT: Modular Decomposition for Large Language Model Compression. ICLR 2025."
    )
    paper = "https://arxiv.org/abs/2408.09632"
    folder = HERE / "lin_2025"
    methods = ("modegpt", "slice_residual", "whitened_svd")


PAPERS: list[type[Paper]] = [Frantar2022, Frantar2023, Sun2024, Ashkboos2024, Wang2025, Meng2024, Lin2025]
