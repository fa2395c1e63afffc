"""The methods that set weights to zero or store them in fewer bits."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.deep_compression import DeepCompression
from prunebench_methods.int8 import Int8
from prunebench_methods.iterative import IterativeMagnitude
from prunebench_methods.kmeans import KMeans
from prunebench_methods.lottery_ticket import LotteryTicket
from prunebench_methods.magnitude import Magnitude
from prunebench_methods.product_quantization import ProductQuantization
from prunebench_methods.random_masks import Random
from prunebench_methods.random_matched import RandomMatched

METHODS: list[type[Method]] = [
    Magnitude,
    Random,
    RandomMatched,
    IterativeMagnitude,
    LotteryTicket,
    KMeans,
    ProductQuantization,
    Int8,
    DeepCompression,
]
