"""MACs of whatever torch dispatches, against arithmetic and against published numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from prunebench.measure.counts import Counts, counting_notes, counts, mac_count, macs
from prunebench.measure.operators import FORMULAS, FREE
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

TOKENS, WIDTH = 10, 32


class Calls(nn.Module):
    """A module with a forward pass of one's own."""

    def __init__(self, module: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.call = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.module, x)


def sequence(width: int = WIDTH) -> Tensor:
    return torch.randn(1, TOKENS, width, generator=torch.Generator().manual_seed(0))


def attended(module: nn.Module, x: Tensor) -> Tensor:
    return module(x, x, x, need_weights=False)[0]


ATTENTION = 2 * TOKENS * TOKENS * WIDTH  # queries on keys, weights on values
PROJECTIONS = 4 * TOKENS * WIDTH * WIDTH
KNOWN: dict[str, tuple[nn.Module, int]] = {
    "attention alone": (
        Calls(nn.Identity(), lambda m, x: functional.scaled_dot_product_attention(x, x, x)), ATTENTION),
    "multi-head attention": (
        Calls(nn.MultiheadAttention(WIDTH, 4, batch_first=True), attended), ATTENTION + PROJECTIONS),
    "an encoder layer": (
        nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True), ATTENTION + PROJECTIONS + 2 * TOKENS * WIDTH * 64),
    "lstm": (nn.LSTM(WIDTH, 16, batch_first=True), TOKENS * 4 * 16 * (WIDTH + 16)),
    "lstm with a projection": (
        nn.LSTM(WIDTH, 16, proj_size=8, batch_first=True), TOKENS * (4 * 16 * (WIDTH + 8) + 16 * 8)),
    "gru": (nn.GRU(WIDTH, 16, batch_first=True), TOKENS * 3 * 16 * (WIDTH + 16)),
    "rnn both ways, two deep": (
        nn.RNN(WIDTH, 16, 2, batch_first=True, bidirectional=True), 2 * TOKENS * 16 * (WIDTH + 16 + 32 + 16)),
    "lstm cell": (Calls(nn.LSTMCell(WIDTH, 16), lambda m, x: m(x[:, 0])[0]), 4 * 16 * (WIDTH + 16)),
    "gru cell": (Calls(nn.GRUCell(WIDTH, 16), lambda m, x: m(x[:, 0])), 3 * 16 * (WIDTH + 16)),
    "bilinear": (Calls(nn.Bilinear(WIDTH, WIDTH, 7), lambda m, x: m(x, x)), TOKENS * 7 * (WIDTH * WIDTH + WIDTH)),
    "bilinear of two widths": (
        Calls(nn.Bilinear(WIDTH, 5, 7), lambda m, x: m(x, x[..., :5])), TOKENS * 7 * (WIDTH * 5 + 5)),
    "matrix by vector": (Calls(nn.Linear(WIDTH, 8), lambda m, x: m.weight @ x[0, 0]), 8 * WIDTH),
    "a vector added": (
        Calls(nn.Linear(WIDTH, 8), lambda m, x: torch.addmv(m.bias, m.weight, x[0, 0])), 8 * WIDTH),
    "vector by vector": (Calls(nn.Identity(), lambda m, x: torch.dot(x[0, 0], x[0, 1])), WIDTH),
    "batched, added": (
        Calls(nn.Identity(), lambda m, x: torch.baddbmm(x.new_zeros(1, TOKENS, TOKENS), x, x.mT)), TOKENS**2 * WIDTH),
    "batched, summed": (
        Calls(nn.Identity(), lambda m, x: torch.addbmm(x.new_zeros(TOKENS, TOKENS), x, x.mT)), TOKENS**2 * WIDTH),
    "einsum": (Calls(nn.Linear(WIDTH, 8), lambda m, x: torch.einsum("bti,oi->bto", x, m.weight)), TOKENS * WIDTH * 8),
    "in place": (
        Calls(nn.Linear(WIDTH, 8), lambda m, x: x.new_zeros(TOKENS, 8).addmm_(x[0], m.weight.t())), TOKENS * WIDTH * 8),
    "an argument by keyword": (
        Calls(nn.Linear(WIDTH, 8), lambda m, x: torch.mm(input=x[0], mat2=m.weight.t())), TOKENS * WIDTH * 8),
    "a convolution of signals": (nn.Conv1d(TOKENS, 6, 3), (WIDTH - 2) * 6 * TOKENS * 3),
    "a transposed convolution": (nn.ConvTranspose1d(TOKENS, 6, 3, stride=2), WIDTH * TOKENS * 6 * 3),
    "a sparse matrix": (
        Calls(nn.Identity(), lambda m, x: torch.eye(WIDTH).to_sparse_csr() @ x[0].t()), WIDTH * TOKENS),
    "norms, pooling and a softmax": (
        nn.Sequential(nn.LayerNorm(WIDTH), nn.GELU(), nn.AvgPool1d(2), nn.Softmax(-1), nn.Dropout()), 0),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("name", KNOWN)
def test_macs_are_those_of_arithmetic(name: str) -> None:
    network, expected = KNOWN[name]
    found = counts(network, sequence())
    assert (found.mac_count, found.unknown_operators) == (expected, ())


def test_the_counts_that_torchs_counter_missed() -> None:
    found = [mac_count(KNOWN[name][0], sequence()) for name in (
        "an encoder layer", "multi-head attention", "attention alone", "lstm", "bilinear")]  # fmt: skip
    assert found == [88_320, 47_360, 6_400, 30_720, 73_920]


GMACS = {"vit_b_16": 17.56, "vit_b_32": 4.41, "swin_t": 4.49}  # to the last digit
PUBLISHED = """
    alexnet vgg16_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 googlenet inception_v3 mobilenet_v2
    mobilenet_v3_small mobilenet_v3_large mnasnet1_0 shufflenet_v2_x1_0 squeezenet1_1 efficientnet_b0 efficientnet_v2_s
    regnet_y_400mf convnext_tiny vit_b_16 vit_b_32 swin_t swin_v2_t maxvit_t
"""
QUICK = ("vit_b_16", "vit_b_32", "swin_t", "mobilenet_v3_small", "shufflenet_v2_x1_0", "convnext_tiny")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in PUBLISHED.split()]
)  # fmt: skip
def test_macs_are_within_one_percent_of_what_torchvision_publishes(name: str) -> None:
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    side = {"inception_v3": 299, "efficientnet_v2_s": 384, "swin_v2_t": 256}.get(name, 224)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a regnet computes its widths with tensors
        network = torchvision.models.get_model(name, **options).to("meta")
    found = mac_count(network, torch.empty(1, 3, side, side, device="meta"))
    assert found == pytest.approx(meta["_ops"] * 1e9, rel=0.01)
    assert name not in GMACS or round(found / 1e9, 2) == GMACS[name]


def test_an_operator_without_a_formula_is_named_and_the_count_unknown() -> None:
    network = nn.Sequential(nn.Linear(WIDTH, 8), Calls(nn.Identity(), lambda m, x: torch.fft.rfft(x).abs()))
    found = counts(network, sequence())
    assert (found.mac_count, found.unknown_operators) == (None, ("aten::_fft_r2c",))
    cost = macs(network, sequence())
    assert (cost.of("0"), cost.of("1"), cost.of()) == (TOKENS * WIDTH * 8, None, None)
    (note,) = counting_notes(network, found, sequence())
    assert note == "mac_count is unknown: there is no formula for aten::_fft_r2c"


@torch.library.custom_op("prunebench_test::own_matmul", mutates_args=())
def own_matmul(a: Tensor, b: Tensor) -> Tensor:
    """An operator that torch does not know."""
    return a @ b


@torch.library.custom_op("prunebench_test::counted_matmul", mutates_args=())
def counted_matmul(a: Tensor, b: Tensor) -> Tensor:
    """An operator that comes with a formula, in FLOPs."""
    return a @ b


@register_flop_formula(torch.ops.prunebench_test.counted_matmul)
def _flops(a: torch.Size, b: torch.Size, *, out_shape: torch.Size, **options: object) -> int:
    return 2 * a[0] * a[1] * b[1]


def test_somebodys_own_operator_is_unknown_until_it_has_a_formula() -> None:
    own = Calls(nn.Linear(WIDTH, 8), lambda m, x: own_matmul(x[0], m.weight.t()))
    assert macs(own, sequence()).unknown == ("prunebench_test::own_matmul",)
    known = Calls(nn.Linear(WIDTH, 8), lambda m, x: counted_matmul(x[0], m.weight.t()))
    assert mac_count(known, sequence()) == TOKENS * WIDTH * 8


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_plain_networks_count_as_torchs_counter_has_them(name: str) -> None:
    network = torchvision.models.get_model(name).eval()
    x = torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    assert mac_count(network, x) == counter.get_total_flops() // 2


def test_no_layer_has_more_macs_than_its_network() -> None:
    network = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True), 2, enable_nested_tensor=False
    )
    found = macs(network, sequence())
    assert found.of("layers.0.linear1") == TOKENS * WIDTH * 64
    assert found.of("layers.0") == found.of("layers.1") == 88_320
    assert found.of() == 2 * 88_320
    assert all(found.of(name) <= found.of() for name, _ in network.named_modules())


def test_counting_restores_every_switch_also_after_an_error() -> None:
    def broken(module: nn.Module, x: Tensor) -> Tensor:
        raise ValueError("broken")

    def switches() -> tuple[bool, ...]:
        backends = torch.backends
        cuda = backends.cuda
        return (
            backends.mha.get_fastpath_enabled(), backends.mkldnn.enabled, backends.cudnn.enabled,
            cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled(),
        )  # fmt: skip

    before = switches()
    with pytest.raises(ValueError, match="broken"):
        mac_count(nn.Sequential(nn.LSTM(4, 4), Calls(nn.Identity(), broken)), torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="broken"):
        mac_count(Calls(nn.LSTM(4, 4), broken), torch.zeros(1, 2, 4))
    assert switches() == before
    assert mac_count(nn.Linear(3, 2), torch.zeros(1, 3)) == 6


def test_a_note_says_for_which_sequence() -> None:
    def note(network: nn.Module, x: Tensor) -> list[str]:
        return counting_notes(network, Counts(1, 1, 1), x)

    assert note(nn.Embedding(9, 4), torch.zeros(1, 128, dtype=torch.long)) == [
        "mac_count is for one sequence of 128 tokens"
    ]
    assert note(nn.LSTM(32, 16), sequence()) == ["mac_count is for one input of 10×32"]
    assert note(nn.Linear(32, 16), torch.zeros(1, 32)) == []
    assert note(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)) == []


def test_no_operator_is_both_free_and_counted() -> None:
    assert not FREE & set(FORMULAS)
    costly = {str(operator).replace(".", "::") for operator in flop_registry}  # to torch's own counter
    assert len(costly) > 10
    assert not FREE & costly


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in KNOWN if name != "a sparse matrix"])
def test_a_card_counts_as_the_processor_does(name: str) -> None:
    network, expected = KNOWN[name]
    assert mac_count(network.to("cuda"), sequence().to("cuda")) == expected
    network.to("cpu")
