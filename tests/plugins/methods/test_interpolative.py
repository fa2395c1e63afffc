"""Removing channels: what the graph finds, what stays exact, and what is declined."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from fake_task import FakeTask, accuracy, digits_task, fake_task, mac_count, pruned, small_cnn, small_fcn
from prunebench import NotApplicable
from prunebench_methods.channels import interpolative_math as mathematics
from prunebench_methods.channels.channel_graph import Group, channel_graph
from prunebench_methods.channels.interpolative import InterpolativeChannels
from prunebench_methods.channels.tracing import traced
from torch import Tensor, nn
from torch.nn import functional

HALF = InterpolativeChannels(keep=0.5)


class Residual(nn.Module):
    """Two blocks on one stream, a depthwise layer and a squeeze-and-excitation gate, all with batch norm."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.one = nn.Sequential(nn.Conv2d(width, 10, 1, bias=False), nn.BatchNorm2d(10), nn.ReLU())
        self.depthwise = nn.Conv2d(10, 10, 3, padding=1, groups=10, bias=False)
        self.two = nn.Sequential(nn.Conv2d(10, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.squeeze, self.excite = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        x = functional.relu(x + self.two(self.depthwise(self.one(x))))
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = x * gate
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


class Dense(nn.Module):
    """Each layer reads what all before it wrote, through a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(14, 5, 1)
        self.norm = nn.BatchNorm2d(14)
        self.head = nn.Linear(5 * 36, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = torch.cat([x, self.second(x)], 1)
        return self.head(self.third(self.norm(x).relu()).relu().view(x.size(0), -1))


def warmed(network: nn.Module, images: Tensor) -> nn.Module:
    """The network with batch statistics that are not zero and one."""
    network.train()
    with torch.no_grad():
        for _ in range(10):
            network(images[:64])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


def toy(kind: str, **options: Any) -> FakeTask:
    torch.manual_seed(0)
    made = {"fcn": small_fcn, "residual": Residual, "dense": Dense}
    if kind == "cnn":
        return fake_task(small_cnn(), (3, 12, 12), **options)
    task = digits_task(made[kind](), **options)
    warmed(task.network, task.train.images)
    return task


KINDS = ["fcn", "cnn", "residual", "dense"]


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_keeping_all_channels_changes_nothing(kind: str, refit: bool) -> None:
    task = toy(kind)
    network = pruned(InterpolativeChannels(keep=1.0, refit=refit, images=256), task)
    with torch.no_grad():
        wanted = task.network(task.validation.images)
        torch.testing.assert_close(network(task.validation.images), wanted, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_repeat_others_are_removed_without_a_trace(kind: str, refit: bool) -> None:
    """Half of the channels of every group are copies of the other half."""
    task = toy(kind)
    for group in channel_graph(task.network, task.example_input).groups:
        if not group.frozen:
            repeat_half(task.network, group)
    network = pruned(InterpolativeChannels(keep=0.5, refit=refit), task)
    with torch.no_grad():
        wanted, got = task.network(task.validation.images), network(task.validation.images)
    assert float((wanted - got).norm() / wanted.norm()) < 5e-3
    assert sum(p.numel() for p in network.parameters()) < 0.65 * sum(p.numel() for p in task.network.parameters())


def repeat_half(network: nn.Module, group: Group) -> None:
    """Channels of the second half become those of the first, everywhere."""
    half = group.width // 2
    for name, offset in [
        *((name, 0) for name in group.writers),
        *((slot.module, slot.offset) for slot in group.scalers),
    ]:
        module = network.get_submodule(name)
        for part in ("weight", "bias", "running_mean", "running_var"):
            if (values := getattr(module, part, None)) is not None:
                values.data[offset + half : offset + 2 * half] = values.data[offset : offset + half]


def test_the_graph_joins_what_residual_additions_and_gates_share() -> None:
    torch.manual_seed(0)
    graph = channel_graph(Residual().eval(), torch.zeros(1, 1, 8, 8))
    stream = graph.groups[0]
    assert stream.writers == ["stem", "two.0", "excite"]
    assert [slot.module for slot in stream.readers] == ["one.0", "squeeze", "head"]
    assert {slot.module for slot in stream.scalers} == {"norm", "two.1"}
    inner = graph.groups[1]
    assert (inner.writers, [s.module for s in inner.scalers]) == (["one.0"], ["one.1", "depthwise"])
    assert graph.groups[-1].frozen == "they are outputs of the network"
    assert graph.norms == {"stem": "norm", "one.0": "one.1", "two.0": "two.1"}


def test_the_graph_follows_concatenations_by_their_offsets() -> None:
    first, second, *_ = channel_graph(Dense().eval(), torch.zeros(1, 1, 8, 8)).groups
    assert [(slot.module, slot.offset) for slot in first.readers] == [("second", 0), ("third", 0)]
    assert [(slot.module, slot.offset) for slot in second.readers] == [("third", 8)]
    assert [(slot.module, slot.offset) for slot in second.scalers] == [("norm", 8)]


def test_flattening_gives_a_channel_as_many_entries_as_it_has_positions() -> None:
    groups = channel_graph(small_cnn().eval(), torch.zeros(1, 3, 12, 12)).groups
    assert [(slot.module, slot.repeat) for slot in groups[1].readers] == [("6", 16)]


class Odd(nn.Module):
    """A convolution, something done to it, and a linear layer."""

    def __init__(self, between: Any, entries: int = 72) -> None:
        super().__init__()
        self.conv, self.between, self.head = nn.Conv2d(1, 8, 6), between, nn.Linear(entries, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.conv(x)))


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda x: x.view(-1, 72), r"view\(\) is not understood"),
        (lambda x: x.permute(0, 2, 3, 1).flatten(1), r"permute\(\) is not understood"),
        (lambda x: torch.cat(x.chunk(2, 1), 1).flatten(1), r"chunk\(\) is not understood"),
        (lambda x: functional.softmax(x, 1).flatten(1), r"softmax\(\) is not understood"),
        (lambda x: functional.layer_norm(x, x.shape[1:]).flatten(1), r"layer_norm\(\) is not understood"),
        (lambda x: (x + torch.ones(8, 3, 3)).flatten(1), "is not understood"),
        (nn.Sequential(nn.GroupNorm(2, 8), nn.Flatten()), "is a GroupNorm"),
        (nn.Sequential(nn.Conv2d(8, 8, 1, groups=2), nn.Flatten()), r"is a grouped convolution \(2 groups\)"),
    ],
)
def test_what_is_not_understood_freezes_its_channels_with_the_reason(between: Any, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        pruned(HALF, fake_task(Odd(between), (1, 8, 8), count=32))


def test_tensors_that_a_forward_pass_makes_are_not_left_on_the_network() -> None:
    task = fake_task(Odd(lambda x: (x * torch.full((1, 8, 1, 1), 2.0)).flatten(1)), (1, 8, 8), count=32)
    held = set(vars(task.network))
    with pytest.raises(NotApplicable, match="come from outside"):
        pruned(HALF, task)
    assert set(vars(task.network)) == held
    graph = traced(task.network)
    assert set(vars(task.network)) == held
    torch.testing.assert_close(graph(task.validation.images), task.network(task.validation.images))


def test_a_forward_pass_that_depends_on_data_is_declined() -> None:
    network = Odd(lambda x: x.flatten(1) if x.sum() > 0 else -x.flatten(1))
    with pytest.raises(NotApplicable, match="cannot be traced: TraceError"):
        pruned(HALF, fake_task(network, (1, 8, 8), count=32))


def test_layers_used_twice_and_tied_weights_are_left_alone() -> None:
    layer = nn.Linear(16, 16)
    with pytest.raises(NotApplicable, match="used more than once"):
        pruned(HALF, fake_task(nn.Sequential(nn.Flatten(), layer, layer), (1, 4, 4), count=32))
    other = nn.Linear(16, 16)
    other.weight = layer.weight
    with pytest.raises(NotApplicable, match="its weight is shared"):
        pruned(HALF, fake_task(nn.Sequential(nn.Flatten(), layer, other), (1, 4, 4), count=32))


def test_weights_that_are_not_finite_and_single_layers_are_declined() -> None:
    task = toy("fcn")
    task.network[1].weight.data[0, 0] = torch.inf
    with pytest.raises(NotApplicable, match="not finite"):
        pruned(HALF, task)
    with pytest.raises(NotApplicable, match="outputs of the network"):
        pruned(HALF, fake_task(nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), (1, 4, 4)))


@pytest.mark.parametrize("choose", ["pivots", "responses"])
def test_without_training_digits_stay_recognised_at_half_the_units(choose: str) -> None:
    task = trained_digits()
    dense = accuracy(task.network, task)
    network = pruned(InterpolativeChannels(keep=0.5, choose=choose), task)
    assert dense > 0.93
    assert accuracy(network, task) > dense - 0.02
    assert mac_count(network, task.example_input) < 0.55 * mac_count(task.network, task.example_input)


def trained_digits() -> FakeTask:
    task = digits_task(small_fcn())
    task.fit(task.network, epochs=30, lr=3e-3)
    return task


def test_more_channels_explain_more_and_refitting_helps() -> None:
    task = trained_digits()
    with torch.no_grad():
        wanted = task.network(task.validation.images)

        def error(**options: Any) -> float:
            network = pruned(InterpolativeChannels(**options), task)
            return float((network(task.validation.images) - wanted).norm() / wanted.norm())

        errors = [error(keep=keep, refit=False) for keep in (0.2, 0.4, 0.7, 1.0)]
        assert errors == sorted(errors, reverse=True)
        assert error(keep=0.4) < errors[1]


def test_after_an_allocation_chosen_by_answers_training_goes_on() -> None:
    task = toy("fcn")
    network = pruned(InterpolativeChannels(theoretical_speedup=2), task)
    before = copy.deepcopy(network.state_dict())
    task.fit(network, epochs=1, max_steps=1)
    assert not any(map(torch.equal, before.values(), network.state_dict().values()))


def test_the_same_seed_gives_the_same_network_and_the_dtype_is_kept() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        task = fake_task(small_cnn().to(dtype), (3, 12, 12))
        first, second = (pruned(HALF, fake_task(copy.deepcopy(task.network), (3, 12, 12))) for _ in range(2))
        assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
        assert {p.dtype for p in first.parameters()} == {dtype}


def test_widths_are_rounded_up_to_a_multiple_within_the_layer() -> None:
    network = pruned(InterpolativeChannels(keep=0.3, round_to=8), toy("cnn"))
    assert (network[0].out_channels, network[3].out_channels, network[6].out_features) == (8, 8, 16)


def test_shared_channels_can_be_left_alone() -> None:
    task = toy("residual")
    network = pruned(InterpolativeChannels(keep=0.5, shared=False), task)
    assert (network.stem.out_channels, network.one[0].out_channels, network.depthwise.groups) == (12, 5, 5)
    assert task.left_alone()["stem"] == "several layers share its outputs"


def test_pivots_are_those_of_the_pivoted_cholesky_factorization() -> None:
    basis = torch.tensor([[3.0, 0, 0], [0, 2, 0], [2.9, 0.1, 0], [0, 0, 1]], dtype=torch.float64)
    assert mathematics.strongest(basis @ basis.T, 1).channels.tolist()[:3] == [0, 1, 3]
    gram, kept = basis @ basis.T, torch.tensor([0, 1, 3])
    assert mathematics.unexplained(gram, kept, mathematics.predictor(gram, kept)) < 1e-3


def test_telling_channels_are_those_that_the_readers_use() -> None:
    gram = torch.diag(torch.tensor([9.0, 4.0, 1.0], dtype=torch.float64))
    unread = torch.diag(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
    assert mathematics.most_telling([gram], [unread]).channels.tolist()[:2] == [1, 2]


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_untouched_layers_differ_from_those_that_keep_their_outputs(kind: str, refit: bool) -> None:
    task = toy(kind)
    network = pruned(InterpolativeChannels(keep=0.5, shared=False, refit=refit, images=64), task)
    for name in task.left_alone():
        assert torch.equal(network.get_submodule(name).weight, task.network.get_submodule(name).weight), name
    kept = {name for name, facts in task.facts.items() if "outputs_kept" in facts}
    last = list(channel_graph(task.network, task.example_input).order)[-1]
    assert last in kept or not refit
    for name in kept:
        assert not torch.equal(network.get_submodule(name).weight, task.network.get_submodule(name).weight), name


class Normed(nn.Module):
    """A group whose only reader writes through a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 12, 3), nn.Conv2d(12, 6, 3), nn.Linear(6 * 16, 10)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.second(self.first(x).relu())).relu().flatten(1))


def test_the_size_of_weights_that_a_batch_norm_takes_back_does_not_count() -> None:
    torch.manual_seed(0)
    task = digits_task(Normed())
    warmed(task.network, task.train.images).norm.eps = 0.0
    network, by = copy.deepcopy(task.network), 2.0 ** torch.tensor([6, -3, 0, -6, 3, 0])
    with torch.no_grad():
        network.second.weight *= by[:, None, None, None]
        network.second.bias *= by
        network.norm.running_mean *= by
        network.norm.running_var *= by.square()
        torch.testing.assert_close(network(task.validation.images), task.network(task.validation.images))
    one, two = (pruned(InterpolativeChannels(keep=0.5, refit=False), each) for each in (task, digits_task(network)))
    torch.testing.assert_close(one.first.weight, two.first.weight)


def test_kept_channels_that_are_silent_or_equal_still_predict_the_others() -> None:
    from prunebench_methods.channels.interpolative_math import predictor

    rows = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.stack((rows[:, 0], torch.zeros(50), rows[:, 0], rows[:, 1], rows.sum(1)), 1).double()
    kept = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(rows[:, kept] @ predictor(rows.T @ rows, kept), rows)
