"""Papers of which the headline result is redone as a small grid, with the claim that it tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prunebench import Paper

HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Headline(Paper):
    """A paper's ratios, each at the accuracy that the paper gave for it, beside the best of ours at that accuracy."""

    columns = ("place", "model", "dataset", "metric", "value", "accuracy_drop")
    methods: ClassVar[tuple[str, ...]]  # whose trials are laid beside the published numbers

    def comparison_template(self) -> str:
        """The SQL that all papers of this kind share, over this paper's methods."""
        listed = ", ".join(f"'{name}'" for name in self.methods)
        return (HERE / "headline.sql").read_text(encoding="utf-8").replace("$methods", listed)


@dataclass(frozen=True)
class Jaderberg2014(_Headline):
    """Separable filters make a character network 2.5 times faster at no loss, 4.5 times within a point."""

    name = "jaderberg-2014"
    title = "Speeding up Convolutional Neural Networks with Low Rank Expansions"
    citation = (
        "Jaderberg, Vedaldi, Zisserman: Speeding up Convolutional Neural Networks with Low Rank Expansions. BMVC 2014."
    )
    paper = "https://arxiv.org/abs/1405.3866"
    folder = HERE / "jaderberg_2014"
    methods = ("spatial_svd", "separable_basis")


@dataclass(frozen=True)
class Lebedev2015(_Headline):
    """CP decomposition and fine-tuning make a character network 8.5 times faster within a point."""

    name = "lebedev-2015"
    title = "Speeding-up Convolutional Neural Networks Using Fine-tuned CP-Decomposition"
    citation = (
        "Lebedev, Ganin, Rakhuba, Oseledets, Lempitsky: Speeding-up Convolutional Neural Networks Using Fine-tuned "
        "CP-Decomposition. ICLR 2015."
    )
    paper = "https://arxiv.org/abs/1412.6553"
    folder = HERE / "lebedev_2015"
    methods = ("cp",)


@dataclass(frozen=True)
class Jin2014(_Headline):
    """Flattened convolutions, trained from scratch, are about twice as fast at comparable accuracy."""

    name = "jin-2014"
    title = "Flattened Convolutional Neural Networks for Feedforward Acceleration"
    citation = (
        "Jin, Dundar, Culurciello: Flattened Convolutional Neural Networks for Feedforward Acceleration. "
        "arXiv 1412.5474, 2014."
    )
    paper = "https://arxiv.org/abs/1412.5474"
    folder = HERE / "jin_2014"
    methods = ("flattened",)


@dataclass(frozen=True)
class Gong2014(_Headline):
    """Vector quantization stores linear layers in 16 to 24 times fewer bits within a point."""

    name = "gong-2014"
    title = "Compressing Deep Convolutional Networks using Vector Quantization"
    citation = (
        "Gong, Liu, Yang, Bourdev: Compressing Deep Convolutional Networks using Vector Quantization. "
        "arXiv 1412.6115, 2014."
    )
    paper = "https://arxiv.org/abs/1412.6115"
    folder = HERE / "gong_2014"
    methods = ("kmeans", "product_quantization")


@dataclass(frozen=True)
class Levin1993(_Headline):
    """Principal components of the activations, weighed by their effect, are pruned without retraining."""

    name = "levin-1993"
    title = "Fast Pruning Using Principal Components"
    citation = "Levin, Leen, Moody: Fast Pruning Using Principal Components. NIPS 1993."
    paper = "https://papers.nips.cc/paper_files/paper/1993/hash/872488f88d1b2db54d55bc8bba2fad1b-Abstract.html"
    folder = HERE / "levin_1993"
    methods = ("principal_components_pruning",)


@dataclass(frozen=True)
class Garg2020(_Headline):
    """The principal components of feature maps say how many channels a network needs, in one pass."""

    name = "garg-2020"
    title = "A Low Effort Approach to Structured CNN Design Using PCA"
    citation = "Garg, Panda, Roy: A Low Effort Approach to Structured CNN Design Using PCA. IEEE Access 8, 2020."
    paper = "https://arxiv.org/abs/1812.06224"
    folder = HERE / "garg_2020"
    methods = ("channel_pca",)


@dataclass(frozen=True)
class Han2015(_Headline):
    """Pruning small weights and retraining, in rounds, leaves a ninth of the weights at no loss."""

    name = "han-2015"
    title = "Learning both Weights and Connections for Efficient Neural Networks"
    citation = "Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks. NIPS 2015."
    paper = "https://arxiv.org/abs/1506.02626"
    folder = HERE / "han_2015"
    methods = ("iterative_magnitude", "magnitude")


@dataclass(frozen=True)
class Frankle2019(_Headline):
    """Sparse sub-networks trained from their first weights reach the dense accuracy, reinitialised they do not."""

    name = "frankle-2019"
    title = "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks"
    citation = "Frankle, Carbin: The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks. ICLR 2019."
    paper = "https://arxiv.org/abs/1803.03635"
    folder = HERE / "frankle_2019"
    methods = ("lottery_ticket",)


@dataclass(frozen=True)
class Li2017(_Headline):
    """Filters of smallest absolute sum go, and one retraining gives back what they cost."""

    name = "li-2017"
    title = "Pruning Filters for Efficient ConvNets"
    citation = "Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets. ICLR 2017."
    paper = "https://arxiv.org/abs/1608.08710"
    folder = HERE / "li_2017"
    methods = ("filter_criteria",)


@dataclass(frozen=True)
class He2017(_Headline):
    """Channels are chosen and the layers that read them refitted, so that answers stay without retraining."""

    name = "he-2017"
    title = "Channel Pruning for Accelerating Very Deep Neural Networks"
    citation = "He, Zhang, Sun: Channel Pruning for Accelerating Very Deep Neural Networks. ICCV 2017."
    paper = "https://arxiv.org/abs/1707.06168"
    folder = HERE / "he_2017"
    methods = ("interpolative_channels",)


@dataclass(frozen=True)
class Blalock2020(_Headline):
    """The meta-analysis as a protocol: amounts from 2 to 32, seeds, random and magnitude controls."""

    name = "blalock-2020"
    title = "What is the State of Neural Network Pruning?"
    citation = "Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural Network Pruning? MLSys 2020."
    paper = "https://arxiv.org/abs/2003.03033"
    folder = HERE / "blalock_2020"
    methods = ("magnitude", "random", "random_matched")


@dataclass(frozen=True)
class Fang2023(_Headline):
    """A graph of dependencies says which channels must go together; a norm over all of them says which."""

    name = "fang-2023"
    title = "DepGraph: Towards Any Structural Pruning"
    citation = "Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning. CVPR 2023."
    paper = "https://arxiv.org/abs/2301.12900"
    folder = HERE / "fang_2023"
    methods = ("peer_torch_pruning",)


PAPERS: list[type[Paper]] = [
    Jaderberg2014,
    Lebedev2015,
    Jin2014,
    Gong2014,
    Levin1993,
    Garg2020,
    Han2015,
    Frankle2019,
    Li2017,
    He2017,
    Blalock2020,
    Fang2023,
]
