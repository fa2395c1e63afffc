"""A lack of memory, told from other faults."""

from __future__ import annotations

import pytest
from prunebench.measure.latency.faults import is_lack_of_memory


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes",
    ],
)
def test_a_lack_of_memory_is_known_by_each_of_its_names(text: str) -> None:
    assert is_lack_of_memory(RuntimeError(text))


def test_another_cuda_error_is_a_failure() -> None:
    assert not is_lack_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
