"""Low rank, principal components and column selection: a layer becomes a product of smaller ones."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.low_rank.basis_sharing import BasisSharing
from prunebench_methods.low_rank.column_select import ColumnSelect
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank.low_rank import LowRank, LowRankAsRun, RohlicekSvd
from prunebench_methods.low_rank.pca import ActivationPca, WeightPca
from prunebench_methods.low_rank.random_directions import LowRankRandom
from prunebench_methods.low_rank.random_matmul import RandomMatmul
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import Asvd, FisherSvd, WhitenedSvd

METHODS: list[type[Method]] = [
    LowRank,
    LowRankAsRun,
    RohlicekSvd,
    DataAwareLowRank,
    PrincipalComponentsPruning,
    WeightPca,
    ActivationPca,
    RandomMatmul,
    ColumnSelect,
    WhitenedSvd,
    Asvd,
    FisherSvd,
    TwoSidedLowRank,
    BasisSharing,
    LowRankRandom,
]
