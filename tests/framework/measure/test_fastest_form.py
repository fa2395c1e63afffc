"""What the protocol leaves to measurement: which memory format is kept, which activations overwrite their input."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable

import pytest
import torch
from prunebench.measure.latency import fastest_form
from prunebench.measure.latency.blocks import Block, Side
from prunebench.measure.latency.fastest_form import channels_last_gain, settled
from prunebench.measure.latency.in_place import InPlace, in_place
from prunebench.measure.latency.latency import latency
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.weights import same, snapshot, stored
from prunebench.records import Latency, LatencyProtocol
from torch import Tensor, nn

CPU = torch.device("cpu")
QUICK = LatencyProtocol(batch=(2,), max_seconds=0.2, groups=2)
FASTEST = LatencyProtocol(batch=(2,), max_seconds=0.4, groups=2, memory_format="fastest")
IN_PLACE = LatencyProtocol(batch=(2,), max_seconds=0.05, groups=2, in_place=True)


def image() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def is_channels_last(network: nn.Module) -> bool:
    return next(t for t in stored(network).values() if t.ndim == 4).is_contiguous(memory_format=torch.channels_last)


class FakeClock:
    """Every call takes a millisecond, and in channels_last what a factor makes of it."""

    name = "cpu"
    block_ms = 1.0

    def __init__(self, factor: float, noise: float = 0.002) -> None:
        self.rng, self.factor, self.noise = random.Random(0), factor, noise
        self.order = ""

    def block(self, side: Side, calls: int) -> Block:
        last = is_channels_last(side.network)
        assert side.x.is_contiguous(memory_format=torch.channels_last) == last, "the input follows the network"
        ms = (self.factor if last else 1.0) * (1 + self.rng.gauss(0, self.noise))
        self.order += "L" if last else "C"
        return Block(ms, ms, ms)


def gain(network: nn.Module, seed: int = 0) -> float | None:
    with torch.inference_mode():
        return channels_last_gain(network, image(), QUICK, CPU, seed, 0.5)


@pytest.mark.parametrize(("factor", "kept"), [(0.5, "channels_last"), (0.98, "contiguous"), (2.0, "contiguous")])
def test_channels_last_is_kept_only_where_it_gains_more_than_chance(
    monkeypatch: pytest.MonkeyPatch, factor: float, kept: str
) -> None:
    monkeypatch.setattr(fastest_form, "clock_for", lambda device, threads: FakeClock(factor))
    network = nn.Conv2d(3, 4, 3)
    chosen, facts = settled(Comparison(network, network, image(), FASTEST, CPU, 0))
    assert {facts["dense_memory_format"], facts["pruned_memory_format"]} == {kept}
    assert [way.channels_last for way in chosen.ways] == [kept == "channels_last"] * 2
    assert facts["dense_channels_last_gain"] == pytest.approx(1 / factor, rel=0.01)
    assert chosen.protocol.max_seconds == pytest.approx(0.85 * FASTEST.max_seconds)
    assert not is_channels_last(network), "only copies are changed"


def test_the_formats_are_interleaved_in_an_order_that_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[FakeClock] = []
    monkeypatch.setattr(time, "perf_counter", lambda: len(orders[-1].order) / 1000)  # nothing but blocks takes time
    for seed in (0, 0, 1):
        monkeypatch.setattr(fastest_form, "clock_for", lambda device, threads: orders[-1])
        orders.append(FakeClock(1.0, noise=0.0))
        gain(nn.Conv2d(3, 4, 3), seed)
    first, again, other = (clock.order for clock in orders)
    assert first == again != other
    timed = first[-40:]  # the warm-up is one format after the other
    assert not {"LLL", "CCC"} & {timed[i : i + 3] for i in range(38)}, timed


@pytest.mark.parametrize("network", [nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), nn.Identity()])
def test_a_network_without_a_4d_weight_stays_contiguous_and_uncalled(network: nn.Module) -> None:
    calls = []
    handle = network.register_forward_hook(lambda *_: calls.append(1))
    chosen, facts = settled(Comparison(network, network, image(), FASTEST, CPU, 0))
    handle.remove()
    assert calls == []
    assert chosen.protocol.max_seconds == FASTEST.max_seconds
    assert facts["pruned_memory_format"] == "contiguous"
    assert facts["pruned_channels_last_gain"] is None


def test_a_network_without_a_four_dimensional_input_stays_contiguous() -> None:
    flat = torch.zeros(2, 192)
    network = nn.Sequential(nn.Unflatten(1, (3, 8, 8)), nn.Conv2d(3, 4, 3))
    with torch.inference_mode():
        assert channels_last_gain(network, flat, QUICK, CPU, 0, 0.5) is None


class Viewing(nn.Conv2d):
    """Runs on contiguous activations only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(len(x), -1)


def test_a_network_that_does_not_run_in_channels_last_stays_contiguous() -> None:
    network = Viewing(3, 4, 3)
    with pytest.raises(RuntimeError, match="view size"):
        latency(network, network, image()[:1], LatencyProtocol((2,), memory_format="channels_last"), "cpu", 0)
    assert gain(network) is None
    assert conditions(network, network, FASTEST)["dense_memory_format"] == "contiguous"


def test_lack_of_memory_in_a_format_is_not_taken_for_a_choice() -> None:
    class Starving(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            if is_channels_last(self):
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return super().forward(x)

    with pytest.raises(torch.OutOfMemoryError, match="forward failed at batch 2"):
        conditions(Starving(3, 4, 3), nn.Conv2d(3, 4, 3), FASTEST)


class Preferring(nn.Conv2d):
    """Four times as fast in the format that it likes; keeps the format that it was last called in."""

    seen: dict[bool, bool]

    def __init__(self, likes_last: bool) -> None:
        super().__init__(3, 4, 3)
        self.likes_last = likes_last

    def forward(self, x: Tensor) -> Tensor:
        last = is_channels_last(self)
        self.seen[self.likes_last] = last
        end = time.thread_time() + (0.0005 if last == self.likes_last else 0.002)
        while time.thread_time() < end:
            pass
        return super().forward(x)


def conditions(dense: nn.Module, pruned: nn.Module, protocol: LatencyProtocol) -> dict[str, object]:
    return timed(dense, pruned, protocol).conditions


def timed(dense: nn.Module, pruned: nn.Module, protocol: LatencyProtocol) -> Latency:
    return latency(dense, pruned, image()[:1], protocol, "cpu", 0)[0]


def test_each_side_is_timed_in_its_own_faster_format() -> None:
    Preferring.seen = {}
    found = timed(Preferring(likes_last=True), Preferring(likes_last=False), FASTEST)
    assert found.memory_format == "fastest"
    assert found.conditions["dense_memory_format"] == "channels_last"
    assert found.conditions["pruned_memory_format"] == "contiguous"
    assert 2 < found.conditions["dense_channels_last_gain"] < 6  # type: ignore[operator]
    assert 0.16 < found.conditions["pruned_channels_last_gain"] < 0.5  # type: ignore[operator]
    assert Preferring.seen == {True: True, False: False}
    assert 0.7 < found.speedup < 1.4, "each in its fastest, they are alike"


def test_without_the_choices_nothing_is_recorded_of_them() -> None:
    found = conditions(nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), QUICK)
    assert not [key for key in found if "memory_format" in key or "in_place" in key or "activations" in key]


class Adding(nn.Module):
    """Uses what goes into its first activation once more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.SiLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return self.second(y + self.first(y))


class Gating(nn.Module):
    """An activation of a parameter, and one of a value that is there only once for all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.tensor([-1.0, 2.0, 3.0]))
        self.of_gate, self.of_sum = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.of_sum(x * self.of_gate(self.gate)[:, None, None])


class Spreading(nn.Module):
    """An activation of one row that stands for many: torch refuses to overwrite it."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.activation(x[:1, :1, :1, :1].expand(x.shape) * 1).mean() + self.activation(x[:1].expand_as(x))


class Drawing(nn.Module):
    """Another output for every call."""

    def __init__(self) -> None:
        super().__init__()
        self.activation, self.calls = nn.ReLU(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.activation(x * self.calls)


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 3, 3, padding=1)


def found_in(network: nn.Module, x: Tensor | None = None) -> InPlace:
    with torch.inference_mode():
        return in_place(Side(copy.deepcopy(network).eval(), image() if x is None else x))


CHAIN = nn.Sequential(conv(), nn.ReLU(), conv(), nn.Hardswish(), nn.Dropout(), conv(), nn.LeakyReLU(), nn.Flatten())


@pytest.mark.parametrize(
    ("network", "names", "count", "activation_count"),
    [
        (CHAIN, ("1", "3", "6"), 3, 3),
        (nn.Sequential(conv(), nn.ReLU6(inplace=True), conv(), nn.ELU()), ("3",), 2, 2),
        (nn.Sequential(nn.ReLU(), conv(), nn.SiLU()), ("2",), 1, 2),
        (nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(192, 4), nn.ReLU()), ("3",), 1, 2),
        (Adding(), ("second",), 1, 2),
        (nn.Sequential(Adding(), Adding(), Adding(), nn.ReLU()), ("0.second", "1.second", "2.second", "3"), 4, 7),
        (Gating(), ("of_sum",), 1, 2),
        (Spreading(), (), 0, 1),
        (Drawing(), (), 0, 1),
        (nn.Sequential(conv(), nn.Flatten()), (), 0, 0),
        (nn.ReLU(), (), 0, 1),
    ],
)  # fmt: skip
def test_activations_are_in_place_where_nothing_else_uses_their_input(
    network: nn.Module, names: tuple[str, ...], count: int, activation_count: int
) -> None:
    before = snapshot(network)
    assert found_in(network) == InPlace(names, count, activation_count)
    assert all(same(value, before[name]) for name, value in stored(network).items())


def test_a_module_used_twice_is_switched_on_only_where_both_uses_allow_it() -> None:
    class Twice(nn.Module):
        def __init__(self, is_residual: bool) -> None:
            super().__init__()
            self.layer, self.activation, self.is_residual = conv(), nn.ReLU(), is_residual

        def forward(self, x: Tensor) -> Tensor:
            y = self.activation(self.layer(x))
            z = self.layer(y)
            return self.activation(z) - z if self.is_residual else self.activation(z)

    assert found_in(Twice(is_residual=False)).names == ("activation",)
    assert found_in(Twice(is_residual=True)).names == ()


def test_what_an_activation_overwrote_of_the_network_is_put_back() -> None:
    network = Gating()
    side = Side(network, image())
    with torch.inference_mode():
        in_place(side)
    assert network.gate.tolist() == [-1.0, 2.0, 3.0]
    assert (network.of_gate.inplace, network.of_sum.inplace) == (False, True)


def test_a_network_that_draws_at_random_is_judged_on_equal_draws() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.activation = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.activation(x + torch.randn_like(x))

    state = torch.get_rng_state()
    assert found_in(Noisy()).count == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_lack_of_memory_is_not_taken_for_a_refusal() -> None:
    class Starving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.activation = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            if self.activation.inplace:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return self.activation(x)

    with pytest.raises(RuntimeError, match="can't allocate"):
        found_in(Starving())


def test_both_sides_are_timed_with_their_own_activations_in_place() -> None:
    seen: dict[str, bool] = {}
    dense, pruned = copy.deepcopy(CHAIN), nn.Sequential(Adding(), nn.Flatten())

    def watch(name: str) -> Callable[..., None]:
        return lambda module, *_: seen.__setitem__(name, module.inplace)

    for name, module in (("dense", dense[3]), ("first", pruned[0].first), ("second", pruned[0].second)):
        module.register_forward_hook(watch(name))
    found = conditions(dense, pruned, IN_PLACE)
    assert (found["dense_in_place"], found["dense_activations"]) == (3, 3)
    assert (found["pruned_in_place"], found["pruned_activations"]) == (1, 2)
    assert seen == {"dense": True, "first": False, "second": True}
    assert not any(getattr(module, "inplace", False) for side in (dense, pruned) for module in side.modules())


def test_the_format_is_settled_before_what_is_in_place() -> None:
    """In contiguous memory the activation has a copy for itself, in channels_last it has the input."""

    class Copying(Preferring):
        def __init__(self) -> None:
            super().__init__(likes_last=True)
            self.activation = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return self.activation(y.contiguous(memory_format=torch.channels_last)) - y

    Preferring.seen = {}
    protocol = LatencyProtocol(batch=(2,), max_seconds=0.4, groups=2, memory_format="fastest", in_place=True)
    found = conditions(Copying(), Copying(), protocol)
    assert (found["dense_memory_format"], found["dense_in_place"]) == ("channels_last", 0)
    assert conditions(Copying(), Copying(), IN_PLACE)["dense_in_place"] == 1


@pytest.mark.slow
def test_fresh_processes_time_what_was_settled_once() -> None:
    protocol = LatencyProtocol(batch=(2,), rounds=2, max_seconds=0.4, groups=2, memory_format="fastest", in_place=True)
    network = nn.Sequential(conv(), nn.ReLU(), nn.Flatten())
    found = timed(network, copy.deepcopy(network), protocol)
    assert set(found.round_index) == {0, 1} and "one-process" not in found.flags
    assert found.conditions["dense_in_place"] == found.conditions["pruned_activations"] == 1
    assert found.conditions["dense_memory_format"] in ("contiguous", "channels_last")


@pytest.mark.slow
def test_compiled_networks_are_compared_compiled() -> None:
    protocol = LatencyProtocol((2,), max_seconds=0.4, groups=2, memory_format="fastest", in_place=True, compile=True)
    network = nn.Sequential(conv(), nn.ReLU(), nn.Flatten())
    found = timed(network, copy.deepcopy(network), protocol)
    assert found.conditions["dense_channels_last_gain"] > 0  # type: ignore[operator]
    assert found.conditions["pruned_in_place"] == 1
    assert max(found.cold_dense_ms, found.cold_pruned_ms) > 20 * found.dense_latency_ms  # one may use the other's code
