"""Bytes: codes, indices and codebooks are encoded for real, read back, and as long as the sizes say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_task import small_cnn
from hypothesis import given, settings
from hypothesis import strategies as st
from prunebench.measure.storage import sizes
from prunebench_methods.shared import storage
from prunebench_methods.shared.exact import index_bits, packed_byte_count
from prunebench_methods.shared.huffman import (
    canonical_codes,
    code_lengths,
    coded_bit_count,
    decode,
    encode,
    huffman_byte_count,
)
from prunebench_methods.shared.sparse import gap_counts, packed, relative, restored, unpacked
from prunebench_methods.shared.storage import dense_byte_count, storage_formats, weight_byte_counts
from torch import nn

symbols = st.lists(st.integers(0, 40), max_size=300).map(lambda values: np.array(values, dtype=np.int64))


@settings(max_examples=100, deadline=None)
@given(symbols)
def test_a_huffman_stream_reads_back(stream: np.ndarray) -> None:
    coded = encode(stream, 41)
    assert np.array_equal(decode(coded), stream)
    assert coded.byte_count == huffman_byte_count(np.bincount(stream, minlength=41))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60).filter(lambda counts: sum(c > 0 for c in counts) > 1))
def test_a_huffman_code_is_within_one_bit_of_the_entropy(counts: list[int]) -> None:
    present = np.array(counts)
    share = present[present > 0] / present.sum()
    entropy = float(-(share * np.log2(share)).sum())
    mean = float((code_lengths(present) * present).sum() / present.sum())
    assert entropy - 1e-9 <= mean < entropy + 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=60))
def test_no_huffman_code_begins_another(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    codes = [f"{code:0{length}b}" for code, length in zip(canonical_codes(lengths), lengths, strict=True)]
    assert not any(a != b and b.startswith(a) for a in codes for b in codes)
    assert sum(2.0 ** -int(length) for length in lengths) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 12) | st.integers(0, 10**9), max_size=60))
def test_bits_are_counted_as_the_code_has_them(counts: list[int]) -> None:
    each = np.array(counts, dtype=np.int64)
    assert coded_bit_count(each) == (code_lengths(each) * each).sum()


def test_the_textbook_code_comes_out() -> None:
    assert code_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.5, -2.0]), max_size=200), st.integers(1, 6))
def test_relative_indices_read_back(values: list[float], bits: int) -> None:
    flat = np.array(values, dtype=np.float32)
    coded = relative(flat, bits)
    assert np.array_equal(restored(coded), flat)
    assert ((coded.gaps >= 0) & (coded.gaps < 1 << bits)).all()
    counts = np.bincount(coded.gaps, minlength=1 << bits)
    assert all(np.array_equal(gap_counts(flat, bits, piece), counts) for piece in (1, 7, 1000))


def test_a_gap_too_long_for_its_index_takes_a_filler() -> None:
    flat = np.zeros(40, dtype=np.float32)
    flat[[0, 8, 17, 39]] = [1, 2, 3, 4]  # steps of 1, 8, 9 and 22 with indices of 3 bits: up to 8
    coded = relative(flat, 3)
    assert coded.gaps.tolist() == [0, 7, 7, 0, 7, 7, 5]
    assert coded.values.tolist() == [1, 2, 0, 3, 0, 0, 4]


@given(st.lists(st.integers(0, 31), max_size=50))
def test_packed_numbers_read_back(numbers: list[int]) -> None:
    data = packed(np.array(numbers, dtype=np.int64), 5)
    assert len(data) == packed_byte_count(len(numbers), 5)
    assert unpacked(data, 5, len(numbers)).tolist() == numbers


@pytest.mark.parametrize(("count", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (32, 5), (33, 6), (256, 8)])
def test_so_many_symbols_need_so_many_bits(count: int, bits: int) -> None:
    assert index_bits(count) == bits


def shared_weight() -> torch.Tensor:
    """(20, 50) with 90 % zeros and four other values, one frequent."""
    generator = torch.Generator().manual_seed(0)
    book = torch.tensor([0.5, -0.5, 0.25, -0.25])
    codes = torch.randint(0, 12, (20, 50), generator=generator).clamp(max=3)
    return book[codes] * (torch.rand(20, 50, generator=generator) < 0.1)


def test_every_format_has_the_bytes_that_encoding_takes() -> None:
    weight = shared_weight()
    flat = weight.flatten().numpy()
    sizes = weight_byte_counts(weight, 5)
    entries = relative(flat, 5)
    gaps = packed(entries.gaps, 5)
    book, codes = np.unique(entries.values, return_inverse=True)
    assert sizes["dense"] == len(flat.tobytes()) == 4000
    assert sizes["bitmap"] == len(np.packbits(flat != 0)) + len(flat[flat != 0].tobytes())
    assert sizes["relative"] == len(gaps) + len(entries.values.tobytes())
    assert sizes["codebook"] == len(gaps) + len(packed(codes.astype(np.int64), 3)) + len(book.tobytes())
    beside = encode(codes.astype(np.int64), len(book)).byte_count + encode(entries.gaps, 32).byte_count
    assert sizes["huffman"] == min(beside, encode(np.unique(flat, return_inverse=True)[1], 5).byte_count) + 20


def test_each_format_beats_the_one_it_refines() -> None:
    sizes = weight_byte_counts(shared_weight(), 5)
    assert sizes["dense"] > sizes["relative"] > sizes["codebook"]
    assert sizes["dense"] > sizes["bitmap"] > sizes["huffman"]


def test_a_dense_network_has_only_the_dense_format() -> None:
    network = small_cnn()
    tensors = list(network.parameters())
    assert storage_formats(network) == {"dense": 8 + sum(80 + 4 * p.numel() for p in tensors)}


def test_a_masked_network_without_shared_values_has_no_codebook() -> None:
    network = small_cnn()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)) < 0.1)
    assert set(storage_formats(network)) == {"dense", "bitmap", "relative"}


def test_tied_weights_are_stored_once() -> None:
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    with torch.no_grad():
        first.weight[1:] = 0
    formats = storage_formats(nn.Sequential(first, second))
    assert formats["dense"] == dense_byte_count(nn.Sequential(first)) == 8 + 80 + 256
    assert formats["bitmap"] == 8 + 80 + 8 + 32


def test_half_precision_values_take_two_bytes() -> None:
    weight = shared_weight()
    nonzero = int(weight.count_nonzero())
    assert weight_byte_counts(weight.bfloat16(), 5)["bitmap"] == 125 + 2 * nonzero


def test_a_buffer_that_is_not_saved_is_in_every_format() -> None:
    network = nn.Sequential(nn.Linear(200, 100, bias=False))
    with torch.no_grad():
        network[0].weight[:, 10:] = 0
    alone = storage_formats(network)
    network[0].register_buffer("table", torch.ones(100, 100), persistent=False)
    beside = storage_formats(network)
    assert {name: beside[name] - alone[name] for name in alone} == dict.fromkeys(alone, 80 + 4 * 100 * 100)
    assert sizes(network, beside)[2]["dense"] == beside["dense"]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_no_format_saves_on_a_weight_that_is_not_stored() -> None:
    network = nn.Sequential(nn.utils.weight_norm(nn.Linear(200, 100, bias=False)))
    network[0].weight = torch.zeros(100, 200)
    assert storage_formats(network) == {"dense": 8 + 2 * 80 + 4 * (200 * 100 + 100)}


def test_distinct_values_are_counted_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SAMPLE", 50)
    monkeypatch.setattr(storage, "PIECE", 30)
    flat = np.random.default_rng(0).integers(-9, 9, 1000).astype(np.float32)
    found = storage.distinct(flat, 18)
    assert found is not None
    for own, wanted in zip(found, np.unique(flat, return_counts=True), strict=True):
        np.testing.assert_array_equal(own, wanted)
    assert storage.distinct(flat, 17) is None
