"""Random small networks of branches, reuse, functional calls, norms and attention: right, or a reason why not."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prunebench.errors import NotApplicable
from prunebench.measure.counts import counts, layer_shapes
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.testing import bench as kit
from prunebench.trial.masks import fold_masks, private_copy
from prunebench.trial.targets import DenseCounts, totals
from prunebench.trial.workbench import weights_hash
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

WIDTH = 8
STEPS = (
    "linear",
    "again",
    "residual",
    "gate",
    "read",
    "norm",
    "attention",
    "weight_norm",
    "keyword",
    "cat",
    "split",
    "own",
)
METHODS = {  # at its loosest, and tight
    "low_rank": ({"rank_ratio": 1.0, "even_if_larger": True}, {"rank_ratio": 0.25}),
    "column_select": ({"keep": 1.0}, {"keep": 0.5}),
    "magnitude": ({"keep": 1.0}, {"keep": 0.25}),
    "interpolative_channels": ({"keep": 1.0}, {"keep": 0.5}),
    "activation_pca": ({"rank_ratio": 1.0}, {"rank_ratio": 0.25}),
}


class Halved(nn.Linear):
    """A forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight / 2, self.bias)


class Random(nn.Module):
    """(N, 3, 8, 8) -> (N, classes): a convolution, then one step after another on (N, WIDTH)."""

    def __init__(self, steps: tuple[str, ...]) -> None:
        super().__init__()
        self.steps = steps
        self.stem, self.bn, self.out = (
            nn.Conv2d(3, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.Linear(WIDTH, kit.CLASSES),
        )
        self.parts = nn.ModuleList(_part(step) for step in steps)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn(self.stem(x))).mean((2, 3))
        for step, part in zip(self.steps, self.parts, strict=True):
            x = _stepped(step, part, x)
        return self.out(x)


def _part(step: str) -> nn.Module:
    if step == "norm":
        return nn.LayerNorm(WIDTH)
    if step == "attention":
        return nn.TransformerEncoderLayer(WIDTH, 2, 12, batch_first=True, dropout=0.0)
    if step == "weight_norm":
        return parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))
    if step in ("cat", "split"):
        return nn.Linear(2 * WIDTH if step == "cat" else WIDTH // 2, WIDTH)
    return Halved(WIDTH, WIDTH) if step == "own" else nn.Linear(WIDTH, WIDTH)


def _stepped(step: str, part: nn.Module, x: Tensor) -> Tensor:
    if step == "again":
        return part(torch.tanh(part(x)))
    if step == "residual":
        return x + functional.relu(part(x))
    if step == "gate":
        return x * torch.sigmoid(part(x))
    if step == "read":
        return functional.linear(functional.relu(part(x)), part.weight.t())
    if step == "attention":
        return part(x.unsqueeze(1)).squeeze(1)
    if step == "keyword":
        return functional.relu(part(input=x))
    if step == "cat":
        return part(torch.cat([x, torch.tanh(x)], 1))
    if step == "split":
        left, right = x.chunk(2, 1)
        return part(left * right)
    return functional.relu(part(x))


def attempted(name: str, params: dict, dense: nn.Module) -> tuple[nn.Module | None, str]:
    """A pruned copy of `dense`, held to the method's closed form, or None and why the method declined."""
    cls = find_installed().find("method", name).cls
    method, task = create(cls, complete(cls, params)), kit.task(dense)
    try:
        pruned = fold_masks(method.prune(private_copy(dense), task), dense).eval()
    except NotApplicable as declined:
        return None, str(declined)
    if (declared := method.counts(task.shapes)) is not None:
        before = counts(dense, kit.inputs(1))
        after = counts(pruned, kit.inputs(1), dense=dense)
        parameters, nonzero, macs = totals(declared, task.shapes, DenseCounts(before.parameter_count, before.mac_count))
        assert (after.parameter_count, after.mac_count) == (parameters, macs)
        assert after.nonzero_parameter_count <= nonzero
    return pruned, ""


@pytest.mark.parametrize("name", METHODS)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=4).map(tuple))
@settings(max_examples=15)
def test_a_method_is_right_on_a_random_network_or_says_why_not(name, steps):
    torch.manual_seed(0)
    dense = Random(steps).eval()
    before, example = weights_hash(dense), kit.inputs()
    loose, tight = (attempted(name, params, dense) for params in METHODS[name])
    for pruned, why in (loose, tight):
        assert why or bool(torch.isfinite(pruned(example)).all())
    with torch.no_grad():
        expected = dense(example)
        if loose[0] is not None:
            assert (loose[0](example) - expected).norm() <= 1e-3 * expected.norm()
    assert weights_hash(dense) == before
    assert torch.equal(copy.deepcopy(dense)(example), expected)


@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=4).map(tuple))
@settings(max_examples=25)
def test_shapes_name_every_odd_layer_of_a_random_network(steps):
    dense = Random(steps).eval()
    shapes = {shape.name: shape for shape in layer_shapes(dense, kit.inputs(1))}
    for place, step in enumerate(steps):
        shape = shapes.get(f"parts.{place}")
        assert (shape is None) == (step in ("norm", "attention"))
        if shape is not None:
            assert bool(shape.left_alone) == (step in ("weight_norm", "own"))
            assert shape.read_outside == (step == "read") and shape.called == (2 if step == "again" else 1)
        if step == "attention":
            assert shapes[f"parts.{place}.linear1"].read_outside
