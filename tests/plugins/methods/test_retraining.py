"""Methods that train: rounds of magnitude pruning, lottery tickets with their controls, deep compression."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from prunebench import Method, NotApplicable
from prunebench_methods.masks.iterative import IterativeMagnitude
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.quantization.deep_compression import DeepCompression
from prunebench_methods.shared.exact import kept_count
from prunebench_methods.shared.sparse import relative, restored
from prunebench_methods.shared.storage import storage_formats
from prunebench_methods.tickets.lottery_ticket import LotteryTicket
from torch import Tensor, nn

LAYERS = (0, 3, 6, 8)


class Watched(FakeTask):
    """A task that remembers the network at the start of every training, and the recipe."""

    def fit(self, network: nn.Module, **recipe: Any) -> tuple[Any, ...]:
        self.starts.append({name: value.clone() for name, value in network.state_dict().items()})
        self.recipes.append(recipe)
        super().fit(network, **recipe)
        return ("an epoch",)

    def rewound(self, step: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(100 + step)
        return {name: torch.randn(value.shape, generator=generator) for name, value in self.initial.items()}

    def train_recipe(self) -> dict[str, Any]:
        return {"epochs": 1, "lr": 0.005}


def watched(network: nn.Module | None = None, **options: Any) -> Watched:
    task = fake_task(network or small_cnn(), (3, 12, 12), count=64)
    task.__class__, task.starts, task.recipes = Watched, [], []  # type: ignore[attr-defined]
    for name, value in options.items():
        setattr(task, name, value)
    assert isinstance(task, Watched)
    return task


def nonzero(weight: Tensor) -> int:
    return int(weight.count_nonzero())


def masks(network: nn.Module) -> list[Tensor]:
    return [network[i].weight.detach() != 0 for i in LAYERS]


METHODS = [
    IterativeMagnitude(keep=0.2, rounds=3),
    IterativeMagnitude(keep=0.2, rounds=2, scope="global"),
    LotteryTicket(keep=0.2, rounds=3),
    LotteryTicket(keep=0.2, rounds=2, scope="global"),
    LotteryTicket(keep=0.2, rounds=2, control="random"),
    LotteryTicket(keep=0.2, rounds=2, control="shuffle"),
    LotteryTicket(keep=0.2, rounds=2, control="reinitialise", section="fc"),
    LotteryTicket(keep=0.3, rounds=2, rewind="lr", output_rate=1.0),
    DeepCompression(keep=0.2),
    DeepCompression(keep=0.2, scope="global", section="conv"),
]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_declared_counts_are_the_counted_ones(method: Method) -> None:
    task = watched()
    network = pruned(method, task)
    declared = assert_counts_hold(method, task, network)
    weights = sum(nonzero(network[i].weight) for i in LAYERS)
    assert weights == sum(c.nonzero_parameter_count for c in declared) - sum(s.out_channels for s in task.shapes)
    assert not network.training


@pytest.mark.parametrize("method", METHODS[:-2], ids=repr)
def test_what_a_round_zeroes_stays_zero(method: Method) -> None:
    task = watched()
    pruned(method, task)
    for before, after in zip(task.starts, task.starts[1:], strict=False):
        assert all(not after[f"{i}.weight"][before[f"{i}.weight"] == 0].any() for i in LAYERS)


def test_rounds_keep_equal_shares_of_what_is_left() -> None:
    task = watched()
    pruned(IterativeMagnitude(keep=0.125, rounds=3, epochs=2), task)
    size = task.network[6].weight.numel()
    assert [nonzero(start["6.weight"]) for start in task.starts] == [kept_count(k, size) for k in (0.5, 0.25, 0.125)]
    assert task.recipes == [{"epochs": 2}] * 3


def test_one_round_without_training_is_magnitude_and_says_so() -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=64)
    task.fit = lambda network, **recipe: ()  # type: ignore[method-assign]
    network, plain = pruned(IterativeMagnitude(keep=0.3, rounds=1), task), pruned(Magnitude(keep=0.3), task)
    assert all(torch.equal(network[i].weight, plain[i].weight) for i in LAYERS)
    assert any("not retrained" in note for note in task.notes)


def test_a_ticket_starts_every_round_from_the_initial_weights() -> None:
    task = watched()
    pruned(LotteryTicket(keep=0.512, rounds=3, step=7), task)
    initial = task.rewound(7)
    assert len(task.starts) == 3 and task.recipes == [task.train_recipe()] * 3
    for start in task.starts:
        assert torch.equal(start["6.bias"], initial["6.bias"])
        kept = start["6.weight"] != 0
        assert torch.equal(start["6.weight"][kept], initial["6.weight"][kept])


def test_the_first_mask_is_that_of_the_trained_network() -> None:
    task = watched()
    pruned(LotteryTicket(keep=0.5, rounds=1, output_rate=1.0), task)
    expected = pruned(Magnitude(keep=0.5), task)
    assert all(torch.equal(task.starts[0][f"{i}.weight"] != 0, expected[i].weight != 0) for i in LAYERS)


def test_the_output_layer_is_pruned_at_half_the_rate() -> None:
    network = pruned(LotteryTicket(keep=0.512, rounds=3), watched())  # 20 % a round
    assert nonzero(network[6].weight) == kept_count(0.512, 384 * 40)
    assert nonzero(network[8].weight) == kept_count(0.9**3, 400) == 292


@pytest.mark.parametrize(("rewind", "recipe"), [("lr", {"epochs": 1, "lr": 0.005}), ("none", {})])
def test_other_modes_keep_the_trained_weights(rewind: str, recipe: dict[str, Any]) -> None:
    task = watched()
    pruned(LotteryTicket(keep=0.5, rounds=1, rewind=rewind), task)
    kept = task.starts[0]["6.weight"] != 0
    assert torch.equal(task.starts[0]["6.weight"][kept], task.network[6].weight[kept])
    assert task.recipes == [recipe]


def test_reinitialised_tickets_keep_mask_and_values_but_not_places() -> None:
    ticket, control = watched(), watched()
    pruned(LotteryTicket(keep=0.5, rounds=2), ticket)
    pruned(LotteryTicket(keep=0.5, rounds=2, control="reinitialise"), control)
    one, other = ticket.starts[-1]["6.weight"], control.starts[-1]["6.weight"]
    assert torch.equal(one != 0, other != 0) and not torch.equal(one, other)
    assert set(other[other != 0].tolist()) <= set(ticket.rewound(0)["6.weight"].flatten().tolist())
    assert torch.equal(ticket.starts[0]["6.weight"], control.starts[0]["6.weight"])


@pytest.mark.parametrize(
    ("control", "scope", "trainings"), [("shuffle", "layer", 1), ("random", "layer", 1), ("shuffle", "global", 3)]
)
def test_shuffled_masks_keep_the_counts_and_the_initial_weights(control: str, scope: str, trainings: int) -> None:
    ticket, other = watched(), watched()
    found = pruned(LotteryTicket(keep=0.3, rounds=3, scope=scope, output_rate=1.0), ticket)
    network = pruned(LotteryTicket(keep=0.3, rounds=3, scope=scope, output_rate=1.0, control=control), other)
    assert len(other.starts) == trainings
    assert [nonzero(mask) for mask in masks(network)] == [nonzero(mask) for mask in masks(found)]
    assert not any(torch.equal(a, b) for a, b in zip(masks(network), masks(found), strict=True))
    start, initial = other.starts[-1]["6.weight"], other.rewound(0)["6.weight"]
    assert torch.equal(start[start != 0], initial[start != 0])


@pytest.mark.parametrize(
    "settings",
    [
        {"step": 5, "rewind": "lr"},
        {"control": "reinitialise", "rewind": "none"},
        {"control": "shuffle", "scope": "global", "rewind": "lr"},
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs rewind = 'weights'"):
        LotteryTicket(**settings).check()


def test_a_network_that_is_no_longer_the_initial_one_is_declined() -> None:
    task = watched()
    task.initial = {"other.weight": torch.zeros(3)}
    with pytest.raises(NotApplicable, match="no longer has the layers"):
        pruned(LotteryTicket(), task)


@pytest.mark.parametrize("method", [IterativeMagnitude(rounds=2), LotteryTicket(rounds=2), DeepCompression()])
def test_the_same_seed_gives_the_same_weights(method: Method) -> None:
    first, again = pruned(method, watched()), pruned(method, watched())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("method", [IterativeMagnitude(), LotteryTicket(), DeepCompression()])
def test_weights_that_are_not_finite_are_declined(method: Method) -> None:
    network = small_cnn()
    with torch.no_grad():
        network[0].weight[0] = float("nan")
    with pytest.raises(NotApplicable, match="not finite"):
        pruned(method, watched(network))


def test_deep_compression_shares_what_pruning_left() -> None:
    task = watched()
    network = pruned(DeepCompression(keep=0.3, conv_bits=3, fc_bits=2), task)
    assert len(task.starts) == 2
    for i, bits in zip(LAYERS, (3, 3, 2, 2), strict=True):
        values = network[i].weight.detach().unique()
        assert len(values) <= 1 << bits and 0 in values
        assert nonzero(network[i].weight) == kept_count(0.3, network[i].weight.numel())
        assert isinstance(network[i].weight, nn.Parameter)


def test_every_stage_takes_fewer_bytes_and_is_noted() -> None:
    task = fake_task(small_fcn(inputs=1024), (1, 32, 32), count=64)
    method = DeepCompression(keep=0.1)
    formats = method.storage(pruned(method, task))
    assert formats["dense"] > formats["relative"] > formats["codebook"] > formats["huffman"]
    note = next(note for note in task.notes if note.startswith("bytes"))
    assert all(f"{stage} {formats[key]:,} (" in note for stage, key in (("shared", "codebook"), ("coded", "huffman")))


def test_the_compressed_weights_read_back_from_indices_and_codes() -> None:
    network = pruned(DeepCompression(keep=0.1), watched())
    flat = network[6].weight.detach().flatten().numpy()
    assert (restored(relative(flat, 5)) == flat).all()


def test_the_ratio_of_a_layer_is_that_of_the_papers_formula() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(1000, 400, bias=False)
    task = fake_task(nn.Sequential(nn.Flatten(), layer), (1, 20, 50), classes=8, count=8)
    task.fit = lambda network, **recipe: ()  # type: ignore[method-assign]
    formats = storage_formats(pruned(DeepCompression(keep=0.1), task))
    entries = -(-(formats["codebook"] - 88 - 32 * 4) * 8 // 10)  # an index and a code of 5 bits each
    fillers = entries - 40_000
    assert 0 < fillers < 4000  # a gap of more than 32 at a density of 10 % comes about once in 30 weights
    assert formats["dense"] / formats["codebook"] == pytest.approx(32 / 10 / 0.1 * 40_000 / entries, rel=0.01)


def test_dense_weights_are_left_as_they_are_by_every_method() -> None:
    task = watched()
    before = copy.deepcopy(task.network.state_dict())
    for method in METHODS:
        pruned(method, task)
    assert all(torch.equal(before[name], value) for name, value in task.network.state_dict().items())
