"""Tensor decompositions of convolutions, and methods that remove channels."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.bicluster import Bicluster
from prunebench_methods.channel_pca import ChannelPca
from prunebench_methods.cp import Cp
from prunebench_methods.flattened import Flattened
from prunebench_methods.interpolative import InterpolativeChannels
from prunebench_methods.monochromatic import Monochromatic
from prunebench_methods.separable_basis import SeparableBasis
from prunebench_methods.spatial_svd import SpatialSvd
from prunebench_methods.tucker2 import Tucker2

METHODS: list[type[Method]] = [
    SpatialSvd,
    SeparableBasis,
    Cp,
    Tucker2,
    Bicluster,
    Monochromatic,
    Flattened,
    ChannelPca,
    InterpolativeChannels,
]
