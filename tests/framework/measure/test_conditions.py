from __future__ import annotations

from prunebench.measure.conditions import precision


def test_how_a_card_may_compute_float32_is_plain_data() -> None:
    found = precision()
    assert found["float32_matmul"] in ("highest", "high", "medium")
    assert {found[name] for name in ("cudnn_tf32", "cudnn_benchmark", "cudnn_deterministic")} <= {True, False}
    assert not found["cudnn_benchmark"], "its choice of kernels would change from run to run"
