"""What a grid costs is counted on its trials: steps by hand beside those of the script."""

from __future__ import annotations

import json

import grid_cost
import pytest
import torch
from grid_cost import Sizes, Work
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from torch import nn

GRID = """
[protocol]
train = { epochs = 5, batch_size = 10 }
finetune = { epochs = 2, batch_size = 20 }
metrics = ["agreement", "corruptions"]
latency = { batch = [1, 8], max_seconds = 2.0, rounds = 1 }
[[block]]
dataset = "digits"
model = "lenet5"
seed = 0
method = ["dense", { use = "magnitude", keep = 0.5 }, { use = "gradual_magnitude", compression = 2, steps = 7 },
          { use = "iterative_magnitude", keep = 0.5, rounds = 3 }, { use = "synflow", keep = 0.5 }]
"""


def test_steps_and_passes_are_those_counted_by_hand():
    installed = find_installed()
    trials = plan(Grid.parse(GRID), installed).trials
    (line,) = grid_cost.counted(trials, installed, Sizes(train=101, validation=300, test=600)).values()
    assert (line.networks, line.trials, line.timing) == (1, 5, 5 * 2 * 2.0)
    assert line.dense == Work(steps=5 * 11, batches=5 * 2)  # 101 images make 11 batches of 10; 300 to validate make 2
    steps = 2 * 6 + 7 + 3 * 2 * 6 + 5 * 11  # fine-tuned; 7 of it; three rounds; trained as dense
    validated = (2 + 2 + 3 * 2 + 5) * 2
    scored = 5 * (2 + 2 + 8) * 3  # 600 to test make 3; agreement asks both networks, corruptions both four times
    assert line.pruned == Work(steps, validated + scored)


def test_ways_that_are_not_counted_are_refused():
    installed = find_installed()
    text = GRID.replace("finetune = { epochs = 2, batch_size = 20 }", 'retraining = "scratch_epochs"')
    with pytest.raises(ValueError, match="retraining = 'scratch_epochs' is not counted"):
        grid_cost.counted(plan(Grid.parse(text), installed).trials, installed, Sizes(100, 10, 10))


def test_a_pass_takes_what_its_layers_or_its_products_take():
    narrow, wide = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)), nn.Linear(4000, 4000, bias=False)
    rates = grid_cost.by_card(
        {"narrow": narrow, "wide": wide}, {"narrow": (1,), "wide": (4000,)}, 128, {1: 10.7, 64: 32.0}
    )
    assert rates.batch_ms["narrow"] == pytest.approx(2 * 10.7 / 107)  # of ResNet-50's 107 layers
    macs = 4_089_184_256  # of ResNet-50
    assert rates.step_ms["wide"] == pytest.approx(3 * 128 * 16e6 * 32.0 / (64 * macs), rel=1e-6)


def test_a_cards_times_are_the_median_of_what_was_kept(tmp_path):
    rows = [{"model": "resnet50", "batch": b, "dense_ms": t} for b, t in ((1, 3.0), (1, 5.0), (1, 4.0), (64, 9.0))]
    file = tmp_path / "1.json"
    kept = {
        "facts": {"card": "a card"},
        "steps": {"speed": {"rows": [*rows, {"model": "alexnet", "batch": 1, "dense_ms": 9.9}]}},
    }
    file.write_text(json.dumps(kept))
    assert grid_cost.card_times([file]) == ("a card", {1: 4.0, 64: 9.0})


def test_rates_can_be_measured_on_this_machine():
    recipe = Grid.parse(GRID).protocol.train
    rates = grid_cost.by_measuring(
        {"tiny": nn.Sequential(nn.Flatten(), nn.Linear(4, 10))}, {"tiny": (1, 2, 2)}, recipe, "cpu"
    )
    assert (
        rates.step_ms["tiny"] > 0 and rates.batch_ms["tiny"] > 0 and torch.isfinite(torch.tensor(rates.step_ms["tiny"]))
    )
