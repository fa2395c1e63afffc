"""int8 by ONNX Runtime's own quantizer: weights by output channel, activations by what calibration samples show."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import platform
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from prunebench import samples
from prunebench.errors import said
from prunebench.measure.runtimes.exporting import Unexportable
from prunebench.samples import Tree

CALIBRATED = 128  # samples
OPERATORS = ["Conv", "MatMul", "Gemm"]


def quantized(data: bytes, calibration: Tree, batch: int | None) -> tuple[bytes, str]:
    """The ONNX file with integer products, and who made it; raises `Unexportable`."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError:
        raise Unexportable("int8 needs pip install 'prunebench[runtimes]'") from None

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, names: list[str]) -> None:
            self._rows = _feeds(names, calibration, batch)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._rows, None)

    with tempfile.TemporaryDirectory(prefix="prunebench-") as name, _quiet():
        whole, made = Path(name) / "network.onnx", Path(name) / "int8.onnx"
        whole.write_bytes(data)
        try:
            quantize_static(
                str(whole),
                str(made),
                Reader(_inputs(data)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=OPERATORS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=not has_wide_sums(),
            )
        except Exception as error:  # the border: the quantizer raises whatever it met
            raise Unexportable(f"ONNX Runtime's quantizer refuses the network: {said(error, 300)}") from None
        bits = "" if has_wide_sums() else ", weights of 7 bits"
        return made.read_bytes(), f"onnxruntime {importlib.metadata.version('onnxruntime')} static int8{bits}"


@cache
def has_wide_sums() -> bool:
    """Whether the processor adds products of bytes in 32 bits (VNNI, or no x86 at all).

    Others add pairs of them in 16 bits, which overflow with weights of 8 bits: a perceptron's outputs were off by 11 %
    instead of 2 %.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _inputs(data: bytes) -> list[str]:
    import onnx

    graph = onnx.load_from_string(data).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [given.name for given in graph.input if given.name not in weights]


def _feeds(names: list[str], calibration: Tree, batch: int | None) -> Iterator[dict[str, Any]]:
    few = samples.moved(samples.rows(calibration, slice(CALIBRATED)), "cpu")
    size = batch or 32
    for part in samples.batches(few, size):
        leaves = [leaf.numpy() for leaf in samples.leaves(part)]
        if len(leaves[0]) == size or batch is None:
            yield dict(zip(names, leaves, strict=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises a preprocessing that is left out here, and prints."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
