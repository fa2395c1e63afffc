"""The figures of the paper: what each sweeps, and what its lines say."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench_papers.ravan_ebanks_2024.sweep import Sweep


@dataclass(frozen=True)
class RandomizedMultiplication(Sweep):
    """Top-1 accuracy above and time below, by samples: the mean over trials, the band one standard deviation where
    there are several, dense in blue. Full lines and points are ours, dashes and squares the published. Times are
    shares of the dense network's, each on its own machine, for the published are sums over a test set on a GPU. The
    printed estimator leaves out the division by the probabilities, so that its products are off by that factor at any
    number of samples: it stays near chance where the unbiased one, which the authors ran, approaches dense. Ours
    multiplies exactly where as many samples are asked for as a layer has inputs; the authors went on sampling, and so
    grew slower. Untrained CNNs have times only.
    """

    name = "ravan_random_matmul"
    title = "Figures 4 and 7: randomized multiplication"
    figures = ("4a", "4b", "7a", "7b", "7 in small")
    swept = "Samples"
    lines = ("dense", "as run", "with activations", "estimator as printed")


@dataclass(frozen=True)
class PrincipalComponents(Sweep):
    """Top-1 accuracy above and time below, by the share of variance kept: the mean over trials, the band one standard
    deviation where there are several, dense in blue. Full lines and points are ours, dashes and squares the
    published; times are shares of the dense network's. "As run" has no activations, as in the authors' code, and
    dense is that network: a rotation passes from layer to layer. "With activations" is the same pruning of the ReLU
    network that the text describes: it falls towards chance even at 100 %, for a ReLU lets no rotation pass. "Of the
    activations" takes the components behind the ReLU and folds them into the next layer, which keeps the accuracy of
    the same network.
    """

    name = "ravan_pca"
    title = "Figure 5: principal components"
    figures = ("5a", "5b")
    swept = "Variance kept"
    lines = ("dense", "as run", "of the activations", "with activations")


@dataclass(frozen=True)
class LowRank(Sweep):
    """Top-1 accuracy above and time below, by rank: the mean over trials, the band one standard deviation where there
    are several, dense in blue. Full lines and points are ours, dashes and squares the published; times are shares of
    the dense network's. "As run" drops the singular values, multiplies by an identity where the rank exceeds a layer,
    and unfolds convolutions: accuracy jumps where layers begin to be left whole, and CNNs grow slower. "With singular
    values" is the truncated decomposition, for convolutions as two of them: the jumps go, and so does the slowness.
    Untrained CNNs have times only.
    """

    name = "ravan_low_rank"
    title = "Figures 6 and 8: low rank"
    figures = ("6a", "6b", "8a", "8b", "8c", "8 in small")
    swept = "Rank"
    lines = ("dense", "as run", "with singular values")


@dataclass(frozen=True)
class Garg(Sweep):
    """Top-1 accuracy above and time below of a network as wide as its significant components, retrained, by the share
    of variance that makes them significant; dense in blue. Full points are ours, the square the authors' attempt,
    which looked at one photograph and retrained with batches of one: 3 %, of which no time was given.
    """

    name = "ravan_garg"
    title = "Garg's analysis of channels"
    figures = ("garg",)
    swept = "Variance that makes a component significant"


FIGURES = (RandomizedMultiplication, PrincipalComponents, LowRank, Garg)
