"""What is kept of large networks waits on disk: the same numbers, none of them held meanwhile, places used again."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from prunebench import Method
from prunebench.measure import heap
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory, TrialTask
from prunebench_methods.blocks.mlp_width import MlpWidth
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.low_rank.whitened import WhitenedSvd
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.shared import grams, shelf
from prunebench_methods.shared.grams import Gram, input_grams
from prunebench_methods.shared.shelf import Kept, Shelf
from test_walking import decoder, task_for
from torch import Tensor, nn

METHODS = [
    MlpWidth(keep=0.5),
    LowRank(rank_ratio=0.4, even_if_larger=True),
    WhitenedSvd(keep=0.6),
    WhitenedSvd(keep=0.8, form="pivot"),
    Wanda(keep=0.5),
    GPTQ(bits=4, group=8),
]


def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on every network counts as large."""
    monkeypatch.setattr(heap, "LARGE_BYTES", 0)


def state_after(method: Method, task: TrialTask) -> dict[str, Tensor]:
    return method.prune(decoder(), task).state_dict()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_shelf_changes_no_weight_of_two_settings(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = state_after(method, task_for(decoder(), walks=True))
    large(monkeypatch)
    task = task_for(decoder(), walks=True)
    found = [state_after(method, task), state_after(method, task)]  # the second reads what the first has put away
    for state in found:
        torch.testing.assert_close(state, wanted, rtol=1e-5, atol=1e-6)


def test_chosen_rows_are_read_alone() -> None:
    whole = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    away, here = Shelf().put((whole[:1], whole)), shelf.Kept((whole[:1], whole))
    for chosen in ([0, 1, 2, 5, 8], [4], [], list(range(9)), [3, 8, 9, 17]):
        wanted = whole.view(18, 5)[chosen]
        for held in (away, here):
            assert torch.equal(held.chosen_rows(1, torch.tensor(chosen, dtype=torch.int64)), wanted)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("count", [6, 40])  # held as rows, and as products
def test_the_moment_of_chosen_inputs_is_a_part_of_all(count: int, centred: bool) -> None:
    here, away = Gram(), Gram()
    rows = torch.randn(count, 1, 9, generator=torch.Generator().manual_seed(0)) + 1
    for gram in (here, away):
        gram.add(rows)
    away.put_away(Shelf())
    chosen = torch.tensor([0, 3, 4, 8])
    wanted = np.cov(rows[:, 0, chosen].double().numpy().T, ddof=0)
    if not centred:
        wanted = (rows[:, 0, chosen].double().T @ rows[:, 0, chosen].double() / count).numpy()
    for gram in (here, away):
        found = gram.among(chosen, centred=centred)
        assert torch.equal(found, gram.second(0, centred=centred)[chosen][:, chosen])
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_grams_taken_block_by_block_are_those_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = input_grams(decoder(), task_for(decoder(), walks=True))
    large(monkeypatch)
    held: list[int] = []
    put_away = grams._Collector.put_away

    def counted(self: grams._Collector, on: Shelf) -> None:
        held.append(len({id(gram) for gram in self.found.values() if gram.away is None}))
        put_away(self, on)

    monkeypatch.setattr(grams._Collector, "put_away", counted)
    found = input_grams(decoder(), task_for(decoder(), walks=True))
    assert held == [0, 4, 4, 4]  # of q, k and v; of the output; of gate and up; of down
    assert found.keys() == wanted.keys() and "lm_head" not in found
    for name, gram in found.items():
        assert gram.products is None and not gram.rows
        torch.testing.assert_close(gram.second(0, centred=True), wanted[name].second(0, centred=True))
        torch.testing.assert_close(gram.diagonal(), wanted[name].diagonal())
    assert found["model.layers.1.self_attn.q_proj"] is found["model.layers.1.self_attn.v_proj"]


def test_blocks_in_another_order_than_said_are_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    task = task_for(decoder(), walks=True)
    assert task.anatomy is not None
    object.__setattr__(task.anatomy, "blocks", task.anatomy.blocks[::-1])
    found = input_grams(decoder(), task)
    wanted = input_grams(decoder(), task_for(decoder(), walks=True))
    assert all(torch.equal(gram.second(0), wanted[name].second(0)) for name, gram in found.items())


def test_sums_that_were_put_away_go_on_where_more_comes() -> None:
    rows = torch.randn(40, 1, 8, generator=torch.Generator().manual_seed(0))
    whole, parted = Gram(), Gram()
    whole.add(rows)
    for part in (rows[:4], rows[4:20], rows[20:]):  # the first is held as rows
        parted.add(part)
        parted.put_away(Shelf())
        parted.put_away(Shelf())
    torch.testing.assert_close(parted.second(0), whole.second(0), rtol=1e-5, atol=1e-6)
    assert parted.count == 40


def test_tensors_come_back_from_the_shelf_as_they_were() -> None:
    on = Shelf()
    numbers = torch.arange(24.0).view(4, 6)
    tensors = (numbers.T, numbers.double()[1:], numbers.bfloat16(), numbers.int(), torch.zeros(0, 3), torch.tensor(2.5))
    kept = on.put(tensors)
    found = kept.read()
    assert [(one.dtype, one.shape) for one in found] == [(one.dtype, one.shape) for one in tensors]
    assert all(map(torch.equal, found, tensors))
    found[0].zero_()
    assert torch.equal(kept.read()[0], numbers.T)


def test_of_a_tensor_on_the_shelf_the_first_rows_can_be_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    on = Shelf()
    numbers = torch.arange(24.0).view(4, 6)
    kept, at_hand = on.put((torch.ones(5), numbers.T, numbers[0])), Kept((numbers.T,))
    read: list[int] = []
    whole = Shelf.read
    monkeypatch.setattr(Shelf, "read", lambda self, start, into: read.append(into.nbytes) or whole(self, start, into))
    for count in (0, 1, 4, 6, 9):
        assert torch.equal(kept.rows(1, count), numbers.T[:count])
        assert torch.equal(at_hand.rows(0, count), numbers.T[:count])
    assert torch.equal(kept.rows(1), numbers.T) and torch.equal(kept.rows(2), numbers[0])
    assert read == [0, 16, 64, 96, 96, 96, 24]


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("form", ["factors", "pivot"])
def test_nobody_can_spoil_the_decomposition_that_later_settings_use(
    form: str, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        large(monkeypatch)
    task, method = task_for(decoder(), walks=True), WhitenedSvd(rank=64, form=form, even_if_larger=True)
    network = method.prune(decoder(), task)
    wanted = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(map(torch.equal, method.prune(decoder(), task).state_dict().values(), wanted.values()))


def test_a_further_share_reads_the_components_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    task = task_for(decoder(), walks=True)
    WhitenedSvd(keep=0.8).prune(decoder(), task)
    read: list[Tensor] = []
    whole = Shelf.read
    monkeypatch.setattr(Shelf, "read", lambda self, start, into: read.append(into) or whole(self, start, into))
    WhitenedSvd(keep=0.4).prune(decoder(), task)
    ranks = {name: facts["rank"] for name, facts in task.layers.items() if "rank" in facts}
    wanted = sum(ranks[s.name] * (s.out_channels + s.in_channels) for s in task.shapes if s.name in ranks)
    assert sum(part.numel() for part in read if part.dtype == torch.float32) == wanted  # energies are float64


def test_a_place_is_used_again_only_when_nobody_refers_to_it() -> None:
    on = Shelf()
    first, second = on.put([torch.ones(100)]), on.put([torch.full((100,), 2.0)])
    end = on._end
    del first
    gc.collect()
    third = on.put([torch.full((100,), 3.0)])
    assert on._end == end
    assert float(second.read()[0].mean()) == 2 and float(third.read()[0].mean()) == 3


def test_without_room_on_the_disk_tensors_stay_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf.tempfile, "TemporaryFile", full)
    numbers = torch.ones(3)
    assert Shelf().put([numbers]).read()[0] is numbers


def test_memory_counts_and_drops_what_lies_on_the_shelf() -> None:
    memory, on = Memory(limit_bytes=1000), Shelf()
    for name in "abc":
        memory.get(name, lambda: on.put([torch.ones(100)]))
    assert list(memory.kept) == ["b", "c"]
    gc.collect()
    assert on._end == 1200 and on._free[400] == [0]


def test_a_layer_that_was_replaced_is_held_by_nobody() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 40), nn.ReLU(), nn.Linear(40, 5))
    task = made_task(copy.deepcopy(network))
    alive: list[bool] = []
    olds = [weakref.ref(network[place].weight) for place in (1, 3)]
    record = task.layer

    def seen(name: str, **facts: object) -> None:
        alive.append(olds[0]() is not None)
        record(name, **facts)

    task.layer = seen  # type: ignore[method-assign]
    LowRank(rank_ratio=0.5, even_if_larger=True).prune(network, task)
    assert alive == [True, False]  # while the first is written down its own loop still has it
