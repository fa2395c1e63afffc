"""CP decomposition: published counts, the fit itself, and components that would like to diverge."""

from __future__ import annotations

import pytest
import torch
from fake_task import assert_counts_hold, fake_task, pruned
from prunebench_methods.decompositions import als
from prunebench_methods.decompositions.cp import Cp
from torch import Tensor, nn


def published_lenet() -> nn.Sequential:
    """Rohlicek's network of 82,554 parameters."""
    torch.manual_seed(0)
    features = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2)]
    linear = [nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 26)]
    return nn.Sequential(*features, nn.Flatten(), *linear)


@pytest.mark.parametrize(("rank", "published"), [(1, 81_677), (5, 81_841), (10, 82_046), (15, 82_251)])
def test_the_published_parameter_counts_come_out(rank: int, published: int) -> None:
    network = published_lenet()
    assert sum(p.numel() for p in network.parameters()) == 82_554
    task = fake_task(network, (1, 32, 32), count=8)
    method = Cp(rank=rank, even_if_larger=True)
    smaller = pruned(method, task)
    assert sum(p.numel() for p in smaller.parameters()) == published
    assert sum(int((p != 0).sum()) for p in smaller.parameters()) == published
    assert_counts_hold(method, task, smaller)


def test_more_components_than_the_kernel_has_still_compute_it_exactly() -> None:
    task = fake_task(published_lenet(), (1, 32, 32), count=8)
    network = pruned(Cp(rank=60, even_if_larger=True), task)
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration), rtol=1e-4, atol=1e-4)
    weights = network[0][1].weight.flatten(1)
    assert len(weights) == 60


def w_state() -> Tensor:
    """The 2 x 2 x 2 tensor of rank three that sums of two components approach without end, rotated."""
    tensor = torch.zeros(2, 2, 2)
    tensor[0, 0, 1] = tensor[0, 1, 0] = tensor[1, 0, 0] = 1
    generator = torch.Generator().manual_seed(3)
    turns = [torch.linalg.qr(torch.randn(2, 2, generator=generator))[0] for _ in range(3)]
    return torch.einsum("xyz,xi,yj,zk->ijk", tensor, *turns).unsqueeze(0).double()


def sensitivity(ridge: float, sweeps: int) -> float:
    tensor = w_state()
    settings = als.Settings(ridge=ridge, sweeps=sweeps, tolerance=0)
    found = als.fitted(tensor, 2, als.mode_bases(tensor), torch.Generator().manual_seed(0), settings)
    return float(als.sensitivity(tensor, found))


def test_components_diverge_without_a_ridge_and_stay_bounded_with_it() -> None:
    free = [sensitivity(1e-12, sweeps) for sweeps in (30, 150, 600)]
    assert free == sorted(free) and free[-1] > 4.5
    held = [sensitivity(1e-2, sweeps) for sweeps in (30, 150, 600)]
    assert max(held) < 3.2 and held[2] - held[1] < 0.1


@pytest.mark.parametrize("sizes", [(6, 1, 3, 3), (5, 4, 3), (3, 7, 2, 4), (4, 1, 1, 1)])
def test_at_the_exact_rank_the_start_is_the_tensor(sizes: tuple[int, ...]) -> None:
    tensors = torch.randn(3, *sizes, generator=torch.Generator().manual_seed(1))
    bases = als.mode_bases(tensors)
    for rank in (als.exact_rank(sizes), als.exact_rank(sizes) + 5):
        factors = als.start(bases, rank, torch.Generator().manual_seed(0))
        assert [tuple(f.shape) for f in factors] == [(3, n, rank) for n in sizes]
        torch.testing.assert_close(als.composed(factors), tensors, rtol=1e-4, atol=1e-4)


def test_a_sum_of_few_components_is_recovered() -> None:
    generator = torch.Generator().manual_seed(5)
    hidden = [torch.randn(2, n, 3, generator=generator) for n in (12, 10, 3, 3)]
    tensor = als.composed(hidden)
    settings = als.Settings(ridge=1e-5, sweeps=200, tolerance=1e-7)
    found = als.fitted(tensor, 3, als.mode_bases(tensor), generator, settings)
    assert float((als.squared_error(tensor, found).sqrt() / tensor.flatten(1).norm(dim=1)).max()) < 1e-2


def test_iterating_never_ends_above_its_start() -> None:
    tensor = torch.randn(4, 9, 8, 3, 3, generator=torch.Generator().manual_seed(2))
    bases = als.mode_bases(tensor)
    for rank in (1, 4, 12, 40):
        generator = torch.Generator().manual_seed(0)
        begun = als.squared_error(tensor, als.start(bases, rank, generator))
        ended = als.squared_error(tensor, als.fitted(tensor, rank, bases, generator))
        assert bool((ended <= begun * (1 + 1e-5)).all())


def test_balancing_shares_the_norms_and_keeps_the_sum() -> None:
    factors = [torch.randn(2, n, 3, generator=torch.Generator().manual_seed(n)) * 10**n for n in (2, 3, 1)]
    even = als.balanced(factors)
    norms = torch.stack([factor.norm(dim=1) for factor in even])
    torch.testing.assert_close(norms, norms.mean(dim=0).expand_as(norms))
    torch.testing.assert_close(als.composed(even), als.composed(factors), rtol=1e-4, atol=1e-2)
