"""A part of the zoo: networks of many kinds by methods of every family, against the zoo's own counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import zoo
from prunebench.plugins.discovery import find_installed
from torch import nn
from zoo_networks import REFUSED, ZOO

NETWORKS = (
    "convolutional depthwise residual channels_chunked vit functional_attention lstm recurrent_cells bilinear "
    "raw_parameters buffer_that_is_not_saved operator_without_a_formula encoder_layer tied_to_embedding "
    "weight_norm old_weight_norm standardized_convolutions called_by_keyword convolutions_by_keyword "
    "lazy_layers layers_without_entries frozen bfloat16 scripted tuple_outputs dict_outputs "
    "logits_beside_others extra_state"
)
METHODS = (
    "low_rank magnitude random_pattern int8 kmeans tucker2 interpolative_channels wanda sparsegpt gptq "
    "two_sided_low_rank activation_pca column_select cp data_aware_low_rank filter_criteria snip synflow soft_filters"
)


@pytest.fixture(scope="module")
def the_zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zoo.Zoo]:
    yield zoo.Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS.split())
@pytest.mark.parametrize("network", NETWORKS.split())
def test_a_cell_is_right_or_declined_with_a_reason(the_zoo: zoo.Zoo, network: str, method: str) -> None:
    for setting in zoo.settings_of(the_zoo.methods()[method]):
        cell = the_zoo.cell(network, method, setting)
        assert cell["status"] == "ok" or (cell["status"] == "declined" and cell["reason"]), (setting, cell)


def test_a_tenth_of_the_zoo_is_tried_here(the_zoo: zoo.Zoo) -> None:
    settings = {name: len(zoo.settings_of(cls)) for name, cls in the_zoo.methods().items()}
    tried = len(NETWORKS.split()) * sum(settings[name] for name in METHODS.split())
    assert tried >= len(ZOO) * sum(settings.values()) / 10


def test_the_zoo_holds_at_least_sixty_networks() -> None:
    assert len(ZOO) >= 60
    assert set(NETWORKS.split()) <= set(ZOO)
    assert not set(ZOO) & set(find_installed().of_kind("model"))  # two models of one name: no trial is planned


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_is_to_be_refused_may_not_run(the_zoo: zoo.Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert the_zoo.cell("fully_connected", "magnitude", "tight")["status"] == "ok"
    monkeypatch.setitem(REFUSED, "fully_connected", "cannot be pruned")
    assert the_zoo.cell("fully_connected", "magnitude", "tight")["status"] == "failed"
    monkeypatch.setitem(REFUSED, "dict_outputs", "other words")
    assert the_zoo.cell("dict_outputs", "magnitude", "tight")["status"] == "failed"


def test_the_zoos_own_counts_see_what_is_wrong(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    pruned = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    pruned[0].register_buffer("codes", torch.ones(3, dtype=torch.int8))
    assert sum(value.numel() for value in zoo.own_parameters(pruned, network)) == 6 * 4 + 4 + 4 * 2 + 2 + 3
    assert zoo.own_bytes(pruned) == 8 + 5 * 80 + 4 * (6 * 4 + 4 + 4 * 2 + 2) + 3
    assert zoo.own_macs(network, torch.zeros(1, 6)) == 6 * 4 + 4 * 2
    assert zoo.difference(network, pruned, torch.ones(3, 6)) > zoo.TOLERANCE
    assert zoo.tolerance(network) == zoo.TOLERANCE < zoo.tolerance(nn.Linear(2, 2).bfloat16()) < 0.02
