"""Bytes by format, and memory of a forward pass."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from prunebench.measure import storage, weights
from prunebench.measure.counts import counts
from prunebench.measure.memory import peak_memory_bytes
from torch import Tensor, nn


def layer(rows: int = 300, columns: int = 400) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(columns, rows)


def test_dense_bytes_are_those_of_a_safetensors_file(tmp_path: Path) -> None:
    network = nn.Sequential(layer(), nn.BatchNorm1d(300))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "weights")
    _, _, formats = storage.sizes(network, {})
    assert formats["dense"] == pytest.approx((tmp_path / "weights").stat().st_size, abs=200)


def test_gzip_bytes_are_those_of_gzip() -> None:
    network = layer()
    with torch.no_grad():
        network.weight[:150] = 0
    raw = network.weight.detach().numpy().tobytes() + network.bias.detach().numpy().tobytes()
    assert storage.sizes(network, {})[1] == pytest.approx(len(gzip.compress(raw, 1)), rel=0.01)


def test_gzip_bytes_of_a_large_network_are_estimated_within_one_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    exact = storage.gzip_bytes(tensors)
    monkeypatch.setattr(storage, "EXACT_GZIP_BYTES", 2 << 20)
    assert storage.gzip_bytes(tensors) == pytest.approx(exact, rel=0.01)


def test_a_sparse_matrix_is_stored_by_rows() -> None:
    network = layer()
    with torch.no_grad():
        network.weight[torch.rand(300, 400, generator=torch.Generator().manual_seed(1)) < 0.9] = 0
    nonzero = int(network.weight.count_nonzero())
    stored, _, formats = storage.sizes(network, {})
    assert formats["csr"] == pytest.approx(nonzero * 6 + 301 * 4 + 300 * 4, abs=200)
    assert stored == formats["csr"] < formats["dense"]


def test_sparsity_that_does_not_pay_stays_dense() -> None:
    stored, _, formats = storage.sizes(layer(), {})
    assert stored == formats["csr"] == formats["dense"]


def test_the_methods_own_format_counts_when_it_is_smallest() -> None:
    stored, _, formats = storage.sizes(layer(), {"huffman": 1234, "codebook": 5678})
    assert stored == 1234
    assert formats.keys() == {"dense", "csr", "huffman", "codebook"}


def test_tied_weights_are_stored_once() -> None:
    first, second = layer(50, 50), layer(50, 50)
    second.weight = first.weight
    tied = storage.sizes(nn.Sequential(first, second), {})[2]["dense"]
    free = storage.sizes(nn.Sequential(first, layer(50, 50)), {})[2]["dense"]
    assert free - tied == 50 * 50 * 4 + storage.HEADER_BYTES


def test_weights_kept_as_a_plain_attribute_are_stored_too() -> None:
    network = nn.Flatten()
    network.secret = torch.zeros(1000)
    assert storage.sizes(network, {})[2]["dense"] > 4000


class Table(nn.Linear):
    """A linear layer beside a large buffer that its state_dict leaves out."""

    def __init__(self, persistent: bool) -> None:
        torch.manual_seed(0)
        super().__init__(20, 30)
        self.register_buffer("table", torch.ones(100, 100), persistent=persistent)


def test_a_buffer_takes_the_same_bytes_whether_it_is_saved_or_not() -> None:
    kept, left_out = storage.sizes(Table(True), {}), storage.sizes(Table(False), {})
    assert kept == left_out
    assert left_out[2]["dense"] == 8 + 3 * storage.HEADER_BYTES + 4 * (20 * 30 + 30 + 100 * 100)
    assert storage.stored_byte_count(Table(False)) == left_out[2]["dense"]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_a_weight_that_a_hook_computes_is_not_stored_beside_its_parts(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = nn.Sequential(wrap(nn.Linear(20, 30)))
    before = storage.sizes(network, {})[2]["dense"]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 20))  # sets the weight anew
    own = [*network.parameters(), *network.buffers()]
    bytes_ = 8 + sum(storage.HEADER_BYTES + 4 * tensor.numel() for tensor in own)
    assert storage.sizes(network, {})[2]["dense"] == before == bytes_
    assert set(weights.stored(network)) == {name for name, _ in (*network.named_parameters(), *network.named_buffers())}


class NamedWeight(nn.Module):
    """A class of its own, with methods that have the names of what quantized modules keep packed."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(30, 20))

    def weight(self) -> Tensor:
        return self.matrix * 2

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight().t()


def test_a_method_named_weight_is_no_second_weight() -> None:
    network = nn.Sequential(NamedWeight())
    found = counts(network, torch.zeros(1, 20), dense=network)
    assert (found.parameter_count, found.mac_count) == (600, 600)
    assert storage.sizes(network, {})[2]["dense"] == 8 + storage.HEADER_BYTES + 4 * 600


def test_half_precision_takes_half_the_bytes() -> None:
    half = storage.sizes(layer().half(), {})[2]["dense"]
    full = storage.sizes(layer(), {})[2]["dense"]
    assert full - half == 2 * (300 * 400 + 300)


def test_nothing_stored_takes_nothing() -> None:
    assert storage.sizes(nn.ReLU(), {}) == (8, 0, {"dense": 8, "csr": 8})


def test_peak_memory_is_weights_and_the_tensors_alive_at_once() -> None:
    network = nn.Sequential(nn.Linear(10, 1000, bias=False), nn.ReLU(), nn.Linear(1000, 5, bias=False))
    x = torch.zeros(7, 10)
    weights, entry, hidden = (10_000 + 5_000) * 4, 7 * 10 * 4, 7 * 1000 * 4
    assert peak_memory_bytes(network, x, "cpu") == weights + entry + 2 * hidden  # before and after the ReLU


def test_in_place_activations_need_less() -> None:
    def network(inplace: bool) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 1000), nn.ReLU(inplace=inplace), nn.Linear(1000, 5))

    x = torch.zeros(7, 10)
    saved = peak_memory_bytes(network(False), x, "cpu") - peak_memory_bytes(network(True), x, "cpu")
    assert saved == (1000 - 5) * 7 * 4  # two hidden tensors at once before, one and the output now


class Skip(nn.Module):
    """Keeps its input alive until the end."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        wide = x.repeat(1, 100)
        return self.inner(self.inner(self.inner(wide))) + wide


def test_what_a_skip_connection_keeps_is_counted() -> None:
    x = torch.zeros(2, 10)
    wide = 2 * 1000 * 4
    assert peak_memory_bytes(Skip(), x, "cpu") == x.numel() * 4 + 3 * wide
