"""random_matmul against the law of its variance."""

from __future__ import annotations

import copy

import pytest
import torch
from fake_task import assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from prunebench import NotApplicable
from prunebench_methods.low_rank.random_matmul import RandomMatmul
from torch import Tensor, nn

DRAWS = 2000
ROWS, COLUMNS, OUTPUTS = 6, 24, 5


def products(samples: int, **settings: object) -> tuple[Tensor, Tensor, Tensor]:
    """Batch (R, p), weight (m, p), and `DRAWS` products (DRAWS, R, m) by a layer without a bias."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(COLUMNS, OUTPUTS, bias=False))
    task = fake_task(network, (1, 4, 6))
    result = pruned(RandomMatmul(samples=samples, **settings), task)
    batch = task.calibration[:ROWS].flatten(1)
    with torch.no_grad():
        found = torch.stack([result[1](batch) for _ in range(DRAWS)])
    return batch, network[1].weight.detach(), found


@pytest.mark.parametrize(("samples", "oversample"), [(2, False), (8, False), (20, False), (60, True)])
def test_the_variance_follows_the_law_of_the_estimator(samples: int, oversample: bool) -> None:
    batch, weight, found = products(samples, oversample=oversample)
    exact = batch @ weight.T
    norms = batch.norm(dim=0) * weight.norm(dim=0)
    expected = (norms.sum() ** 2 - exact.square().sum()) / samples
    errors = (found - exact).square().sum((1, 2))
    assert float(errors.mean()) == pytest.approx(float(expected), rel=0.1)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("samples", [3, 12])
def test_the_mean_over_many_draws_is_the_exact_product(replacement: bool, samples: int) -> None:
    batch, weight, found = products(samples, replacement=replacement)
    exact = batch @ weight.T
    spread = float((found - exact).square().sum((1, 2)).mean())
    assert float((found.mean(0) - exact).square().sum()) < 3 * spread / DRAWS


def test_what_cannot_be_drawn_again_is_not_oversampled() -> None:
    for settings in ({"replacement": False}, {"variant": "top_norm"}):
        with pytest.raises(ValueError, match="oversample = true draws columns again"):
            RandomMatmul(samples=60, oversample=True, **settings).check()


def test_without_replacement_the_error_is_smaller() -> None:
    errors = []
    for replacement in (True, False):
        batch, weight, found = products(12, replacement=replacement)
        errors.append(float((found - batch @ weight.T).square().sum((1, 2)).mean()))
    assert errors[1] < 0.75 * errors[0]


def test_as_printed_the_estimator_is_biased() -> None:
    batch, weight, found = products(8, variant="as_printed")
    exact = batch @ weight.T
    assert float((found.mean(0) - exact).norm() / exact.norm()) > 0.8


def test_top_norm_takes_the_columns_of_the_largest_norms_unscaled() -> None:
    batch, weight, found = products(7, variant="top_norm")
    chosen = (batch.norm(dim=0) * weight.norm(dim=0)).topk(7).indices
    torch.testing.assert_close(found[0], batch[:, chosen] @ weight[:, chosen].T)
    assert torch.equal(found[0], found[-1])


def test_a_convolution_follows_the_same_law() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=(1, 2), bias=True, padding_mode="circular")
    network = nn.Sequential(layer)
    task = fake_task(network, (3, 8, 9))
    result = pruned(RandomMatmul(samples=9), task)
    images = task.calibration[:4]
    with torch.no_grad():
        exact = network(images)
        found = torch.stack([result(images) for _ in range(800)])
        padded = nn.functional.pad(images, list(layer._reversed_padding_repeated_twice), mode="circular")
        patches = nn.functional.unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride)
        norms = patches.norm(dim=(0, 2)) * layer.weight.flatten(1).norm(dim=0)
        linear = exact - layer.bias[:, None, None]
    expected = float((norms.sum() ** 2 - linear.square().sum()) / 9)
    errors = (found - exact).square().flatten(1).sum(1)
    assert float(errors.mean()) == pytest.approx(expected, rel=0.1)
    assert float((found.mean(0) - exact).square().sum()) < 3 * expected / 800


@pytest.mark.parametrize(
    "method",
    [
        RandomMatmul(samples=10),
        RandomMatmul(samples=40, section="all"),
        RandomMatmul(samples_ratio=0.25, section="fc"),
        RandomMatmul(samples_ratio=0.25, section="all", replacement=False),
        RandomMatmul(samples=30, section="all", variant="top_norm"),
    ],
    ids=repr,
)
def test_the_declared_counts_equal_the_counted_ones(method: RandomMatmul) -> None:
    task = fake_task(small_cnn(), (3, 12, 12))
    counts = assert_counts_hold(method, task, pruned(method, task))
    assert sum(count.parameter_count for count in counts) == sum(shape.parameter_count for shape in task.shapes)


def test_as_many_samples_as_columns_mean_exact_multiplication() -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    result = pruned(RandomMatmul(samples=48), task)
    assert task.left_alone()["3"] == "48 samples of 48 columns: multiplied exactly"
    assert type(result[3]) is nn.Linear and type(result[1]) is not nn.Linear
    with pytest.raises(NotApplicable, match="500 samples of 64 columns"):
        pruned(RandomMatmul(samples=500), task)


def test_each_forward_pass_draws_anew_and_eval_starts_over() -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    result = pruned(RandomMatmul(samples_ratio=0.3), task).eval()
    first, second = result(task.calibration), result(task.calibration)
    assert not torch.equal(first, second)
    result.eval()
    assert torch.equal(result(task.calibration), first)
    twin = copy.deepcopy(result)
    assert torch.equal(twin(task.calibration), second)


def test_another_seed_draws_other_columns() -> None:
    answers = []
    for seed in (0, 1):
        task = fake_task(small_fcn(), (1, 8, 8))
        task.generator.manual_seed(seed)
        answers.append(pruned(RandomMatmul(samples_ratio=0.3), task)(task.calibration))
    assert not torch.equal(*answers)


def test_a_batch_of_zeros_gives_the_bias() -> None:
    network = small_fcn()
    result = pruned(RandomMatmul(samples_ratio=0.3), fake_task(network, (1, 8, 8)))
    torch.testing.assert_close(result[1](torch.zeros(3, 64)), network[1].bias.expand(3, -1))


def test_a_batch_that_overflowed_is_multiplied_without_a_crash() -> None:
    result = pruned(RandomMatmul(samples_ratio=0.3), fake_task(small_fcn(), (1, 8, 8)))
    batch = torch.ones(3, 64)
    batch[:, 5], batch[:, 6] = float("inf"), float("nan")
    assert result[1](batch).shape == (3, 48)


def test_the_norms_follow_a_weight_that_is_trained() -> None:
    result = pruned(RandomMatmul(samples_ratio=0.3), fake_task(small_fcn(), (1, 8, 8)))
    before = result[1].norms()
    assert result[1].norms() is before
    with torch.no_grad():
        result[1].columns.mul_(2)
    torch.testing.assert_close(result[1].norms(), 2 * before)


def test_replacement_is_a_choice_of_the_unbiased_variant_only() -> None:
    with pytest.raises(ValueError, match="replacement = false is for variant 'unbiased'"):
        RandomMatmul(samples=4, variant="top_norm", replacement=False).check()
