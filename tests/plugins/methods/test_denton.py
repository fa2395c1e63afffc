"""Monochromatic filters and biclusters: the structure is found where it is there, and counted as published."""

from __future__ import annotations

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned
from prunebench import LayerShape, NotApplicable
from prunebench_methods.decompositions.bicluster import Bicluster
from prunebench_methods.decompositions.monochromatic import Monochromatic
from prunebench_methods.shared.equal_clusters import clusters_of
from torch import Tensor, nn


def coloured(filters: int = 16, colours: int = 4, **options: int) -> FakeTask:
    """A first convolution whose filters are each of one of a few colours, half of them negative, in random order."""
    generator = torch.Generator().manual_seed(0)
    palette = torch.rand(colours, 3, generator=generator) + torch.eye(4, 3)[:colours]
    signs = torch.where(torch.rand(filters, generator=generator) < 0.5, -1.0, 1.0)
    codes = torch.randperm(filters, generator=generator) % colours
    shapes = torch.randn(filters, 5, 5, generator=generator)
    layer = nn.Conv2d(3, filters, 5, stride=2, padding=2)
    layer.weight.data = torch.einsum("fc,fyx->fcyx", palette[codes] * signs[:, None], shapes)
    return fake_task(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(filters, 4, 3)), (3, 15, 15), count=16)


@pytest.mark.parametrize("equal", [True, False])
def test_filters_of_few_colours_are_computed_exactly(equal: bool) -> None:
    task = coloured()
    method = Monochromatic(colours=4, equal=equal)
    network = pruned(method, task)
    assert_counts_hold(method, task, network)
    assert task.facts["0"]["weight_error"] < 1e-5
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration), rtol=1e-4, atol=1e-4)


def test_fewer_colours_than_there_are_leave_an_error_that_grows() -> None:
    errors = []
    for colours in (4, 2, 1):
        task = coloured()
        pruned(Monochromatic(colours=colours), task)
        errors.append(task.facts["0"]["weight_error"])
    assert errors == sorted(errors) and errors[1] > 0.1


def test_only_the_first_convolution_changes_and_grey_pictures_are_declined() -> None:
    task = coloured()
    pruned(Monochromatic(colours=4), task)
    assert task.left_alone() == {"2": "not the first convolution"}
    with pytest.raises(NotApplicable, match="grey input"):
        pruned(Monochromatic(), fake_task(nn.Sequential(nn.Conv2d(1, 16, 3)), (1, 8, 8)))
    with pytest.raises(NotApplicable, match="equal = false allows it"):
        pruned(Monochromatic(colours=6), coloured())
    assert isinstance(pruned(Monochromatic(colours=6, equal=False), coloured()), nn.Module)


def test_published_ratios_follow_from_the_counts() -> None:
    first = LayerShape("c", "conv2d", 96, 3, (7, 7), (2, 2), positions=110 * 110, bias=False)
    first = LayerShape(**{**vars(first), "input_size": (224, 224), "output_size": (110, 110)})
    (colours,) = Monochromatic(colours=6).counts([first]) or []
    assert colours.parameter_count == 3 * 6 + 7 * 7 * 96
    second = LayerShape("c", "conv2d", 256, 96, (5, 5), positions=26 * 26, bias=False)
    second = LayerShape(**{**vars(second), "input_size": (26, 26), "output_size": (26, 26)})
    (blocks,) = Bicluster(input_clusters=48, output_clusters=2, rank=6).counts([second]) or []
    assert blocks.parameter_count == 48 * 2 * 6 * (96 // 48 + 25 + 256 // 2)


def blocky(equal_to: int = 2) -> FakeTask:
    """A kernel that is a sum of two products in each of 2 x 2 blocks of shuffled channels."""
    generator = torch.Generator().manual_seed(1)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator)

    blocks = torch.einsum("ghka,ghkp,ghkb->hbgap", draw(2, 2, 2, 4), draw(2, 2, 2, 9), draw(2, 2, 2, 6))
    kernel = blocks.reshape(12, 8, 3, 3)
    kernel = kernel[torch.randperm(12, generator=generator)][:, torch.randperm(8, generator=generator)]
    layer = nn.Conv2d(8, 12, 3, padding=1)
    layer.weight.data = kernel
    return fake_task(nn.Sequential(layer), (8, 6, 6), count=8)


def test_fitting_products_together_is_nearer_than_one_after_the_other() -> None:
    errors = {}
    for fit in ("als", "greedy"):
        task = blocky()
        pruned(Bicluster(rank=3, fit=fit), task)
        errors[fit] = task.facts["0"]["weight_error"]
    assert errors["als"] < errors["greedy"] < 1


def test_channels_that_do_not_make_equal_clusters_are_left_alone() -> None:
    with pytest.raises(NotApplicable, match="its 12 output channels do not make 5 clusters of equal size"):
        pruned(Bicluster(rank=1, output_clusters=5), blocky())


@pytest.mark.parametrize("equal", [True, False])
def test_clusters_that_are_there_are_found(equal: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    truth = torch.randperm(24, generator=generator) % 3
    points = 5 * torch.eye(3)[truth] + 0.1 * torch.randn(24, 3, generator=generator)
    codes = clusters_of(points, 3, generator, equal=equal)
    assert len({(int(a), int(b)) for a, b in zip(truth, codes, strict=True)}) == 3


def test_equal_clusters_have_equal_sizes_whatever_the_points() -> None:
    points = torch.cat([torch.zeros(10, 2), torch.ones(2, 2)])
    codes = clusters_of(points, 4, torch.Generator().manual_seed(0), equal=True)
    assert torch.bincount(codes).tolist() == [3, 3, 3, 3]
