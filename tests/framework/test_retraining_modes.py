"""What a pruned network is trained again by: from where, by which rates, for how long."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import prunebench
import pytest
import torch
from prunebench.errors import GridError, NotApplicable
from prunebench.grid.grid import Grid
from prunebench.measure.counts import counts
from prunebench.recipe import Recipe
from prunebench.records import Protocol
from prunebench.report.charts import load
from prunebench.trial.retraining import prepared
from prunebench.trial.training import Course, fit
from torch import nn
from toys import CLASSIFICATION, Blobs, Tiny

TRAIN = Recipe(epochs=4, batch_size=60, lr=1e-2, schedule="multi_step", milestones=(2, 3))
BLOCK = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nmethod = "dense"\n'


def trained(splits, steps: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    net, course = Tiny().build(4), Course(max_steps=steps)
    if steps != 0:
        generator = torch.Generator().manual_seed(0)
        fit(net, splits.train, splits.validation, TRAIN, objective=CLASSIFICATION, generator=generator, course=course)
    return net


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    splits = Blobs().load((1, 4, 4), tmp_path_factory.mktemp("blobs"))
    network, example = trained(splits), splits.train.head(1)[0]

    def fresh(seed: int):
        torch.manual_seed(seed)
        return Tiny().build(4).state_dict()

    return SimpleNamespace(
        network=network, splits=splits, example=example, counts=counts(network, example), fresh=fresh
    )


def masked(dense) -> nn.Module:
    network = copy.deepcopy(dense.network)
    with torch.no_grad():
        network[1].weight[:, ::2] = 0
    return network


def asked(dense, network, mode: str, epochs: int = 0):
    protocol = Protocol(train=TRAIN, finetune=Recipe(epochs=epochs), retraining=mode)
    return prepared(network, dense, protocol, 7, lambda steps: trained(dense.splits, steps).state_dict())


def test_rewinding_goes_back_so_many_epochs_and_zeros_stay(dense):
    for epochs in (4, 1):
        network = masked(dense)
        found = asked(dense, network, "rewind_weights", epochs)
        assert (found.recipe.epochs, found.first_epoch) == (epochs, 4 - epochs)
        wanted = trained(dense.splits, (4 - epochs) * 4)  # 240 samples in batches of 60
        with torch.no_grad():
            wanted[1].weight[:, ::2] = 0
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), wanted.parameters(), strict=True))
    network = masked(dense)
    found = asked(dense, network, "rewind_lr", 1)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), masked(dense).parameters(), strict=True))
    assert (found.recipe.epochs, found.first_epoch, found.recipe.milestones) == (1, 3, (2, 3))


def test_the_last_rewound_epochs_have_the_rates_of_then(dense):
    seen: list[float] = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    recipe = Recipe(epochs=2, batch_size=60, lr=1.0, optimizer="sgd", momentum=0.0, schedule="multi_step",
                    milestones=(2, 3), gamma=0.5)  # fmt: skip
    before = copy.deepcopy(network.state_dict())

    def look() -> None:  # a step of plain SGD is the rate times the gradient, which the penalty makes 1
        seen.append(float((before["1.bias"] - network[1].bias.detach())[0]))
        before["1.bias"] = network[1].bias.detach().clone()

    def bias(_: object = None) -> torch.Tensor:
        return 1e4 * network[1].bias.sum()

    fit(network, dense.splits.train, dense.splits.validation, recipe, objective=CLASSIFICATION,
        generator=torch.Generator().manual_seed(0),
        course=Course(first_epoch=2, after_step=look, extra_loss=bias))  # fmt: skip
    assert seen == pytest.approx([5e3] * 4 + [2.5e3] * 4, rel=1e-3)


def test_from_scratch_is_fresh_under_the_same_zeros(dense):
    network = masked(dense)
    found = asked(dense, network, "scratch_epochs")
    fresh = dense.fresh(7)
    assert found.recipe == TRAIN and not found.first_epoch and not network[1].weight[:, ::2].any()
    assert torch.equal(network[1].weight[:, 1::2], fresh["1.weight"][:, 1::2])
    assert "as many multiply-accumulates" in asked(dense, masked(dense), "scratch_compute").note


def test_equal_compute_is_as_many_more_epochs_as_a_sample_costs_less(dense):
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 4))
    before = copy.deepcopy(narrow)
    found = asked(dense, narrow, "scratch_compute")
    assert (found.recipe.epochs, found.recipe.milestones, found.note) == (8, (4, 6), "")
    assert not any(torch.equal(a, b) for a, b in zip(narrow.parameters(), before.parameters(), strict=True))
    with pytest.raises(NotApplicable, match="the earlier weights do not fit: pruning changed the layers"):
        asked(dense, narrow, "rewind_weights", 2)


def test_trials_of_all_ways_are_drawn_by_their_epochs(tmp_path):
    data = Blobs().load((1, 4, 4), tmp_path)
    torch.manual_seed(0)
    network = Tiny().build(4)
    path = tmp_path / "results.duckdb"
    protocol = {"finetune": {"epochs": [1, 2], "lr": 1e-2}, "latency": {"batch": []}}
    found = prunebench.compare(
        network, data, [{"use": "magnitude", "keep": 0.3}], protocol=protocol, db=path, quiet=True
    )
    assert len(found.trials) == 4  # dense and pruned, for each number of epochs
    rows = found.query(load("retraining").sql)
    assert rows["epochs"].to_list() == [1, 2] and set(rows["retraining"]) == {"finetune"}
    assert (
        rows["accuracy"].to_list()
        == found.query(
            "select score from trials join protocols using (protocol_id) where not is_dense "
            "order by cast(settings ->> '$.finetune.epochs' as integer)"
        )["score"].to_list()
    )
    assert "retraining" in str(found.chart("retraining").to_dict())
    declined = prunebench.compare(
        network, data, [{"use": "magnitude", "keep": 0.3}], db=path, quiet=True,
        protocol={"train": {"epochs": 2}, "retraining": "scratch_epochs", "latency": {"batch": []}},
    )  # fmt: skip
    assert "came pretrained" in declined.query("select reason from trials where status = 'skipped'")["reason"][0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            'retraining = "rewind_lr"',
            "rewinds by finetune.epochs, which must be in [1, 10] as train.epochs is 10, got 0",
        ),
        ('retraining = "rewind_lr"\nfinetune = { epochs = 11 }', "must be in [1, 10] as train.epochs is 10, got 11"),
        ('retraining = "rewind_lr"\nfinetune = { epochs = 2, lr = 0.1 }', "finetune takes epochs only, got lr"),
        (
            'retraining = "scratch_epochs"\nfinetune = { epochs = 2 }',
            "trains as long as train does: leave finetune.epochs out",
        ),
        (
            'retraining = "scratch_epochs"\ntrain = { epochs = 9, patience = 2 }',
            "needs train.epochs, and neither train.steps nor",
        ),
        ('retraining = "rewind"', "expected finetune, rewind_weights, rewind_lr, scratch_epochs or scratch_compute"),
    ],
)
def test_ways_that_contradict_the_recipes_are_one_line(table, message):
    with pytest.raises(GridError) as error:
        Grid.parse(f"[protocol]\n{table}\n{BLOCK}")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_ways_and_epochs_are_axes():
    text = '[protocol]\nretraining = ["rewind_weights", "rewind_lr"]\nfinetune = { epochs = [1, 2, 2] }\n'
    grid = Grid.parse(text + BLOCK)
    asked = [(protocol.retraining, protocol.finetune.epochs) for protocol in grid.protocols]
    assert sorted(asked) == [("rewind_lr", 1), ("rewind_lr", 2), ("rewind_weights", 1), ("rewind_weights", 2)]
    assert grid.warnings == ("protocol.finetune.epochs: 1 duplicate value(s) left out",)
    assert len({protocol.id for protocol in grid.protocols}) == 4
