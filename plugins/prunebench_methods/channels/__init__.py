"""Whole channels removed: the network becomes narrower."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.channels.channel_pca import ChannelPca
from prunebench_methods.channels.filter_criteria import FilterCriteria, RandomFilters, SoftFilters
from prunebench_methods.channels.interpolative import InterpolativeChannels

METHODS: list[type[Method]] = [
    ChannelPca,
    InterpolativeChannels,
    FilterCriteria,
    RandomFilters,
    SoftFilters,
]
