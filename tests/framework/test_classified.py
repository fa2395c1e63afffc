from __future__ import annotations

import pytest
from prunebench.runner import _classified


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes",
    ],
)
def test_a_lack_of_memory_is_known_by_each_of_its_names(text: str) -> None:
    assert _classified(RuntimeError(text)) == "oom"


def test_another_cuda_error_is_a_failure() -> None:
    assert _classified(RuntimeError("CUDA error: device-side assert triggered")) == "failed"
