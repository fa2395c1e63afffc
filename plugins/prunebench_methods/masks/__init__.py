"""Masks: single weights become zero."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.masks.alps import Alps
from prunebench_methods.masks.gradual import GradualMagnitude
from prunebench_methods.masks.grasp import Grasp
from prunebench_methods.masks.iterative import IterativeMagnitude
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.masked_refit import MaskedRefit
from prunebench_methods.masks.random_masks import Random
from prunebench_methods.masks.random_matched import RandomMatched
from prunebench_methods.masks.random_pattern import RandomPattern
from prunebench_methods.masks.snip import Snip
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.masks.synflow import SynFlow
from prunebench_methods.masks.wanda import Wanda

METHODS: list[type[Method]] = [
    Magnitude,
    Random,
    RandomMatched,
    RandomPattern,
    IterativeMagnitude,
    Wanda,
    SparseGPT,
    MaskedRefit,
    Alps,
    GradualMagnitude,
    Snip,
    Grasp,
    SynFlow,
]
