"""Tensor decompositions: a convolution becomes a chain of smaller ones."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.decompositions.bicluster import Bicluster
from prunebench_methods.decompositions.cp import Cp
from prunebench_methods.decompositions.flattened import Flattened
from prunebench_methods.decompositions.monochromatic import Monochromatic
from prunebench_methods.decompositions.separable_basis import SeparableBasis
from prunebench_methods.decompositions.spatial_svd import SpatialSvd
from prunebench_methods.decompositions.tucker2 import Tucker2

METHODS: list[type[Method]] = [
    SpatialSvd,
    SeparableBasis,
    Cp,
    Tucker2,
    Bicluster,
    Monochromatic,
    Flattened,
]
