from __future__ import annotations

import pytest
import torch
from prunebench.randomness import seeded
from prunebench.splits import StreamSplit


class Cards:
    """Two cards as far as torch's global generators go: a state a card, drawn from by nobody."""

    def __init__(self) -> None:
        self.seeds = {0: 1000, 1: 1001}
        self.current = 0

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.tensor(self.seeds[device.index]))
        monkeypatch.setattr(torch.cuda, "set_rng_state", self.restore)
        monkeypatch.setattr(torch.cuda, "manual_seed", self.seed)
        monkeypatch.setattr(torch.cuda, "manual_seed_all", self.seed_all)
        monkeypatch.setattr(torch.cuda, "device", lambda card: self.chosen(card))

    def restore(self, state: torch.Tensor, device: torch.device) -> None:
        self.seeds[device.index] = int(state)

    def seed(self, seed: int) -> None:
        self.seeds[self.current] = seed

    def seed_all(self, seed: int) -> None:
        self.seeds = dict.fromkeys(self.seeds, seed)

    def chosen(self, card: torch.device):
        self.current = card.index
        return torch.device("cpu")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    cards = Cards()
    cards.patch(monkeypatch)
    return cards


def test_inside_it_is_seeded_and_outside_as_it_was() -> None:
    torch.manual_seed(1)
    expected = [torch.rand(3), torch.rand(3)]
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), expected[0])
    with seeded(7):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected[1])
    with seeded(7):
        assert torch.equal(torch.rand(3), first)


def test_the_card_in_use_is_seeded_and_given_back_and_no_other_is_touched(cards: Cards) -> None:
    with seeded(7, "cuda:1"):
        assert cards.seeds == {0: 1000, 1: 7}
    assert cards.seeds == {0: 1000, 1: 1001}
    with pytest.raises(RuntimeError, match="no"), seeded(7, "cuda:1"):
        raise RuntimeError("no")
    assert cards.seeds == {0: 1000, 1: 1001}


def test_on_the_cpu_no_card_is_touched(cards: Cards) -> None:
    with seeded(7):
        assert cards.seeds == {0: 1000, 1: 1001}


@pytest.mark.gpu
def test_a_card_draws_the_same_numbers_inside_and_goes_on_outside() -> None:
    torch.cuda.manual_seed(1)
    expected = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(1)
    with seeded(7, "cuda"):
        first = torch.rand(3, device="cuda")
    assert torch.equal(torch.rand(3, device="cuda"), expected)
    with seeded(7, "cuda"):
        assert torch.equal(torch.rand(3, device="cuda"), first)


class Noisy(torch.utils.data.Dataset):
    """Twelve samples, each with a number drawn by the process that reads it."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(1, 1, 1) + index, index


def test_a_stream_without_a_generator_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    assert sum(len(labels) for _, labels in StreamSplit(Noisy(), workers=2).batches(4)) == 12
    assert torch.equal(torch.get_rng_state(), before)


def test_what_workers_draw_does_not_depend_on_the_global_generator() -> None:
    split = StreamSplit(Noisy(), workers=2)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(torch.cat([images for images, _ in split.batches(4)]))
    assert torch.equal(*found)
