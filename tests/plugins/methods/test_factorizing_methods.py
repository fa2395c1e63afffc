"""What holds for every factorizing method: types, devices, determinism, bad layers, the dense network untouched."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from prunebench import Method, NotApplicable
from prunebench_methods.dense import Dense
from prunebench_methods.low_rank import METHODS as LOW_RANK
from prunebench_methods.low_rank.column_select import ColumnSelect
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank.low_rank import LowRank, LowRankAsRun, RohlicekSvd
from prunebench_methods.low_rank.pca import ActivationPca, WeightPca
from prunebench_methods.low_rank.random_matmul import RandomMatmul
from torch import Tensor, nn

METHODS = [Dense, *LOW_RANK]
SETTINGS: list[Method] = [
    LowRank(rank=4),
    LowRankAsRun(rank=4, section="all"),
    RohlicekSvd(keep=0.3, section="all"),
    DataAwareLowRank(rank=4, round_to=1, skip_last=False),
    DataAwareLowRank(rank=4, round_to=1, asymmetric=False),
    DataAwareLowRank(theoretical_speedup=1.25, round_to=2, allocation="global"),
    PrincipalComponentsPruning(rank=2, section="all"),
    PrincipalComponentsPruning(rank=2, section="all", centred=True),
    ActivationPca(rank=2),
    RandomMatmul(samples_ratio=0.5, section="all"),
    RandomMatmul(samples_ratio=0.5, section="all", replacement=False),
    RandomMatmul(samples_ratio=0.5, section="all", variant="top_norm"),
    ColumnSelect(keep=0.5),
]
ON_CHAINS: list[Method] = [*SETTINGS, WeightPca(variance=0.8)]


def cnn_task() -> FakeTask:
    return fake_task(small_cnn(), (3, 12, 12))


@pytest.mark.parametrize("method", SETTINGS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_the_layers_keep_their_type(method: Method, dtype: torch.dtype) -> None:
    task = fake_task(small_cnn().to(dtype), (3, 12, 12))
    result = pruned(method, task)
    assert {parameter.dtype for parameter in result.parameters()} == {dtype}
    answers = result(task.calibration)
    assert answers.dtype == dtype and bool(torch.isfinite(answers).all())


@pytest.mark.parametrize("method", ON_CHAINS, ids=repr)
def test_the_same_seed_gives_the_same_network(method: Method) -> None:
    first, second = (pruned(method, fake_task(small_fcn(), (1, 8, 8))) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    images = fake_task(small_fcn(), (1, 8, 8)).calibration
    assert torch.equal(first(images), second(images))


@pytest.mark.parametrize("method", ON_CHAINS, ids=repr)
def test_no_method_draws_from_the_global_generator(method: Method) -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    before = torch.get_rng_state()
    pruned(method, task)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("method", ON_CHAINS, ids=repr)
def test_a_pruned_network_can_be_copied_pickled_and_trained(method: Method) -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    result = pruned(method, task)
    expected = result.eval()(task.calibration)
    for twin in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert torch.equal(twin.eval()(task.calibration), expected)
    task.fit(result, max_steps=2)
    assert not torch.equal(result(task.calibration), expected)


@pytest.mark.parametrize("method", SETTINGS, ids=repr)
def test_the_network_s_own_hooks_stay(method: Method) -> None:
    network = small_cnn()
    calls: list[int] = []
    task = fake_task(network, (3, 12, 12))
    network[3].register_forward_hook(lambda module, inputs, output: calls.append(output.shape[1]))
    result = pruned(method, task)
    calls.clear()
    result(task.calibration)
    assert calls == [24]


@pytest.mark.parametrize("method", SETTINGS, ids=repr)
def test_work_kept_for_a_sweep_shares_no_memory_with_the_pruned_network(method: Method) -> None:
    task = cnn_task()
    result = pruned(method, task)
    owned = {tensor.untyped_storage().data_ptr() for tensor in result.state_dict().values()}
    dense = {tensor.untyped_storage().data_ptr() for tensor in task.network.state_dict().values()}
    kept = {tensor.untyped_storage().data_ptr() for tensor in tensors_in(task.kept)}
    assert not owned & kept and not dense & kept and not owned & dense


def tensors_in(value: object) -> list[Tensor]:
    """All tensors inside dicts, sequences and records."""
    if isinstance(value, Tensor):
        return [value] if value.numel() else []
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return tensors_in(vars(value)) if hasattr(value, "__dict__") else []


class Awkward(nn.Module):
    """A layer used twice, two layers with one weight, a transposed convolution, a depthwise one and a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 6, 2)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.twice = nn.Conv2d(6, 6, 1)
        self.one, self.other = nn.Linear(24, 24), nn.Linear(24, 24)
        self.other.weight = self.one.weight
        self.plain, self.last = nn.Linear(24, 30), nn.Linear(30, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.twice(self.twice(self.depthwise(self.up(images)))).flatten(1)
        return self.last(self.plain(self.other(self.one(features))))


@pytest.mark.parametrize("method", SETTINGS, ids=repr)
def test_layers_used_twice_tied_transposed_or_depthwise_are_left_alone(method: Method) -> None:
    torch.manual_seed(0)
    task = fake_task(Awkward(), (2, 3, 3))
    result = pruned(method, task)
    left = task.left_alone()
    assert left["twice"] in ("the network uses it 2 times", "not in section 'fc'")
    assert left["one"] == left["other"] == "its weight is shared with another layer"
    assert type(result.up) is nn.ConvTranspose2d and result.one.weight is result.other.weight
    assert "plain" not in left
    if method.counts(task.shapes):
        assert len(method.counts(task.shapes)) == len(task.shapes)


@pytest.mark.parametrize("method", ON_CHAINS, ids=repr)
def test_a_network_with_weights_that_are_no_numbers_is_declined(method: Method) -> None:
    network = small_fcn()
    network[3].weight.data[0, 0] = float("nan")
    with pytest.raises(NotApplicable):
        pruned(method, fake_task(network, (1, 8, 8)))


@pytest.mark.parametrize("method", ON_CHAINS, ids=repr)
def test_a_network_without_layers_is_declined(method: Method) -> None:
    with pytest.raises(NotApplicable):
        pruned(method, fake_task(nn.Sequential(nn.Flatten()), (1, 1, 10)))


@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind.loosest is not None], ids=lambda kind: kind.name)
def test_at_its_loosest_a_method_leaves_the_function(kind: type[Method]) -> None:
    for network, shape in ((small_cnn(), (3, 12, 12)), (small_fcn(), (1, 8, 8))):
        task = fake_task(network, shape)
        try:
            result = pruned(kind(**kind.loosest), task)
        except NotApplicable as declined:  # what would leave every layer as it is says so
            said = ("all of its weights are kept", "leaves it dense", "the anatomy of this network is not known")
            assert any(words in str(declined) for words in said)
            continue
        torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
def test_every_method_names_its_paper_and_says_what_its_fields_mean(kind: type[Method]) -> None:
    assert kind.__doc__ and (kind is Dense or kind.paper.startswith("https://"))
    assert all(item.metadata["doc"] for item in fields(kind))
    assert not kind.knob or kind.knob in {item.name for item in fields(kind)}


def test_dense_changes_nothing_and_says_so_of_every_layer() -> None:
    task = cnn_task()
    result = pruned(Dense(), task)
    assert_counts_hold(Dense(), task, result)
    assert set(task.left_alone()) == {shape.name for shape in task.shapes}
    assert torch.equal(result(task.calibration), task.network(task.calibration))
