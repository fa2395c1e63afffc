"""How strongly a regression is pulled towards the numbers as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from prunebench_methods.channels import regularisation as pull
from prunebench_methods.channels.refit_math import batched
from prunebench_methods.channels.regularisation import PULLS, Sums, held_out_pull
from test_refit import refitted
from torch import Tensor, nn

READ, WRITTEN = 20, 3


def sums(rows: int, truth: Tensor, noise: float, seed: int) -> Sums:
    """Of random rows, and of what `truth` (T, n) makes of them but for noise."""
    generator = torch.Generator().manual_seed(seed)
    read = torch.randn(rows, READ, generator=generator)
    made = Sums.like(truth)
    made.add(read, read @ truth.T.float() + noise * torch.randn(rows, WRITTEN, generator=generator))
    return made


def true_numbers() -> Tensor:
    return torch.randn(WRITTEN, READ, generator=torch.Generator().manual_seed(1)).double()


def chosen(rows: int, now: Tensor, noise: float) -> float:
    fitted, held = sums(rows, true_numbers(), noise, 2), sums(rows, true_numbers(), noise, 3)
    return held_out_pull(fitted, held, now, torch.ones(WRITTEN, dtype=torch.float64))


def test_few_noisy_rows_say_little_against_numbers_that_are_nearly_right() -> None:
    assert chosen(12, true_numbers() + 0.01, noise=3.0) == PULLS[0]


def test_many_rows_say_all_against_numbers_that_are_wrong() -> None:
    assert chosen(5000, -true_numbers(), noise=0.1) == PULLS[-1]


def test_without_rows_to_judge_by_the_strongest_pull_is_taken() -> None:
    now = true_numbers()
    worth = torch.ones(WRITTEN, dtype=torch.float64)
    assert held_out_pull(sums(50, now, 0.0, 2), Sums.like(now), now, worth) == PULLS[0]


def test_the_error_of_the_sums_is_that_of_the_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    read, outputs = (torch.randn(30, n, generator=generator).double() for n in (READ, WRITTEN))
    made, worth = Sums.like(true_numbers()), torch.tensor([1.0, 0.0, 4.0]).double()
    made.add(read, outputs)
    numbers = true_numbers().T
    direct = ((read @ numbers - outputs).square() - outputs.square()).sum(0) @ worth
    assert made.error(numbers, worth) == pytest.approx(float(direct))


def test_a_few_images_leave_some_to_be_held_out() -> None:
    assert [len(batched(torch.zeros(count, 1))) for count in (1, 2, 3, 5, 1000)] == [1, 2, 3, 3, 16]


def test_a_layer_of_more_numbers_than_images_still_answers_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it reads has become noisy, and 48 images are few for the 64 numbers that it reads."""
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    damaged = copy.deepcopy(dense)
    with torch.no_grad():
        damaged[1].weight += 0.05 * torch.randn(64, 64)
    seen, others = torch.rand(48, 1, 8, 8), torch.rand(512, 1, 8, 8)

    def error(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network(others) - dense(others)).square().mean())

    suited = error(refitted(dense, damaged, ["3"], seen))
    monkeypatch.setattr(pull, "PULLS", PULLS[-1:])
    assert suited < 0.8 * error(refitted(dense, damaged, ["3"], seen))
