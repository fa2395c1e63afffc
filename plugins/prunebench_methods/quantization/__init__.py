"""Weight sharing and quantization: the same weights in fewer bits."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.quantization.awq import AWQ
from prunebench_methods.quantization.deep_compression import DeepCompression
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.quantization.hqq import HQQ
from prunebench_methods.quantization.int8 import Int8
from prunebench_methods.quantization.kmeans import KMeans
from prunebench_methods.quantization.product_quantization import ProductQuantization
from prunebench_methods.quantization.rtn import RoundToNearest

METHODS: list[type[Method]] = [
    KMeans,
    ProductQuantization,
    Int8,
    DeepCompression,
    RoundToNearest,
    GPTQ,
    AWQ,
    HQQ,
]
