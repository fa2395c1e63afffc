"""Whatever network a model builds: it is measured right, its odd layers are left alone, or one line says no."""

from __future__ import annotations

import any_networks
import pytest
import torch
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench, weights_hash
from toys import Blobs

GRID = """
[protocol]
train = { epochs = 1, batch_size = 16, lr = 1e-2 }
finetune = { epochs = 1, batch_size = 16, lr = 1e-3 }
calibration = 32
latency = { batch = [] }
[[block]]
dataset = "blobs"
model = "MODEL"
seed = 0
method = METHODS
"""
LOOSEST = ("{ use = 'low_rank', rank_ratio = 1.0, even_if_larger = true }", "{ use = 'column_select', keep = 1.0 }",
           "{ use = 'magnitude', keep = 1.0 }")  # fmt: skip
TIGHT = ("{ use = 'magnitude', keep = 0.25 }", "{ use = 'low_rank', rank_ratio = 0.25 }", "{ use = 'int8' }",
         "{ use = 'activation_pca', rank_ratio = 0.25 }", "{ use = 'random_matmul', samples_ratio = 0.5 }",
         "{ use = 'kmeans', clusters = 4 }", "{ use = 'interpolative_channels', keep = 0.5 }")  # fmt: skip
FINE = sorted(any_networks.NETWORKS.keys() - {"scripted", "tuple", "dictionary"})
ALONE = {  # network -> its odd layer, why it stays
    "standardised": ("1", "StandardisedLinear has a forward pass of its own"),
    "equalised": ("0", "EqualisedConv has a forward pass of its own"),
    "adapted": ("1", "Adapter has a forward pass of its own"),
    "masked_inside": ("1", "MaskedInside has a forward pass of its own"),
    "weight_norm": ("1", "its weight is computed by a parametrization"),
    "spectral_norm": ("1", "its weight is computed by a parametrization"),
    "orthogonal": ("1", "its weight is computed by a parametrization"),
    "symmetric": ("1", "its weight is computed by a parametrization"),
    "old_weight_norm": ("1", "its weight is computed by a hook"),
    "old_spectral_norm": ("1", "its weight is computed by a hook"),
    "masked_already": ("1", "its weight is computed by a hook"),
    "tiedembedding": ("head", "its weight is shared with embed (Embedding)"),
    "tiedbias": ("first", "its bias is shared with another layer"),
}


@pytest.fixture
def bench(tmp_path):
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", threads=1)
    bench.installed = find_installed().named("dataset", "blobs", Blobs)
    for name in any_networks.NETWORKS:
        bench.installed = bench.installed.named("model", name, any_networks.model(name))
    return bench


def results(bench, name: str, methods, finetune: bool = False):
    text = GRID.replace("MODEL", name).replace("METHODS", f"[{', '.join(methods)}]")
    text = text if finetune else text.replace("finetune = { epochs = 1", "finetune = { epochs = 0")
    trials = plan(Grid.parse(text), bench.installed).trials  # dense is always among them
    return [run_trial(trial, bench) for trial in trials if trial.method.use != "dense" or "'dense'" in methods]


@pytest.mark.parametrize("name", FINE)
def test_at_the_loosest_setting_nothing_changes(bench, name):
    dense, *others = results(bench, name, ["'dense'", *LOOSEST])
    assert dense.status == "ok", dense.reason
    for result in others:
        assert result.status in ("ok", "skipped"), (result.trial.method.use, result.reason)
        if result.measurement is not None:
            assert result.measurement.loss == pytest.approx(dense.measurement.loss, rel=1e-3)
            assert result.measurement.nonzero_parameter_count >= dense.measurement.nonzero_parameter_count


@pytest.mark.parametrize("name", FINE)
def test_every_method_works_or_says_why_not_and_dense_stays(bench, name):
    dense, *others = results(bench, name, ["'dense'", *TIGHT])
    assert dense.status == "ok", dense.reason
    for result in others:
        assert result.status in ("ok", "skipped"), (result.trial.method.use, result.reason)
        assert "Error" not in result.reason
    assert weights_hash(bench._dense.network) == dense.provenance.dense_hash
    assert results(bench, name, ["'dense'"])[0].measurement.loss == dense.measurement.loss


@pytest.mark.parametrize("name", ALONE)
def test_the_row_of_an_odd_layer_says_why_it_stays(bench, name):
    layer, why = ALONE[name]
    for result in results(bench, name, ["{ use = 'magnitude', keep = 0.5 }", "{ use = 'int8' }"]):
        assert result.status == "ok", result.reason
        (record,) = [record for record in result.measurement.layers if record.name == layer]
        assert record.left_alone == why and record.weight_error == record.output_error == 0
        assert record.parameter_count_after == record.parameter_count_before


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal", "old_weight_norm", "masked_already"])
def test_a_weight_that_is_computed_still_is_after_fine_tuning(bench, name):
    (result,) = results(bench, name, ["{ use = 'magnitude', keep = 0.5 }"], finetune=True)
    assert result.status == "ok", result.reason
    (dense,) = results(bench, name, ["'dense'"])
    assert result.measurement.parameter_count == dense.measurement.parameter_count


def test_a_mask_leaves_an_embedding_whole(bench):
    (result,) = results(bench, "tiedembedding", ["{ use = 'magnitude', keep = 0.1 }"])
    kept = 80 + (7 + 8) + (4 + 4)  # the embedding, mix with its bias, out with its bias
    assert result.measurement.nonzero_parameter_count == kept


def test_a_mask_reaches_weights_that_the_network_reads_itself(bench):
    masked, factored = results(bench, "tieddecoder", [TIGHT[0], LOOSEST[0]])
    assert {record.name: record.left_alone for record in masked.measurement.layers} == {"encode": "", "out": ""}
    assert [r.left_alone for r in factored.measurement.layers] == ["the network reads its weight or sizes itself", ""]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "scripted",
            "model 'scripted': build() returned a TorchScript network, which cannot be pruned: return the plain",
        ),
        ("tuple", "the network must return a tensor of logits, got tuple, while it trains"),
        ("dictionary", "the network must return a tensor of logits, got dict, while it trains"),
    ],
)
def test_what_cannot_be_measured_says_so_in_one_line(bench, name, reason):
    for result in results(bench, name, ["'dense'", TIGHT[0]]):
        assert result.status == "failed" and reason in result.reason


def test_versions_and_extra_state_come_back_from_a_checkpoint(bench, tmp_path):
    results(bench, "versioned", ["'dense'"])
    bench.forget()
    tickets = "{ use = 'lottery_ticket', keep = 0.5, rounds = 1, control = 'reinitialise' }"
    again, ticket = results(bench, "versioned", ["'dense'", tickets])
    assert again.status == "ok" and bench._dense.network.facts == {"steps": 3}
    assert ticket.status == "ok", ticket.reason


def test_a_tensor_of_one_element_may_have_any_stride(bench):
    network = torch.nn.Linear(1, 1)
    plain = weights_hash(network)
    network.weight = torch.nn.Parameter(torch.as_strided(network.weight.detach().clone(), (1, 1), (7, 5)))
    assert network.weight.stride() == (7, 5) and weights_hash(network) == plain
    kept = bench.checkpoints.write("one", network.state_dict(), 0.0, ())
    assert torch.equal(bench.checkpoints.read("one").weights["weight"], kept.weights["weight"])
