"""Methods that replace a layer by products of smaller ones or by some of its columns, and the dense control."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.column_select import ColumnSelect
from prunebench_methods.data_aware import DataAwareLowRank
from prunebench_methods.dense import Dense
from prunebench_methods.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank import LowRank, LowRankAsRun, RohlicekSvd
from prunebench_methods.pca import ActivationPca, WeightPca
from prunebench_methods.random_matmul import RandomMatmul

METHODS: list[type[Method]] = [
    Dense,
    LowRank,
    LowRankAsRun,
    RohlicekSvd,
    DataAwareLowRank,
    PrincipalComponentsPruning,
    WeightPca,
    ActivationPca,
    RandomMatmul,
    ColumnSelect,
]
