"""One trial from dense network to result."""

from __future__ import annotations

import pytest
import torch
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.records import Result, decode, encode
from prunebench.trial.runner import TrialRunner, run_trial, with_half_batches
from prunebench.trial.workbench import Workbench, weights_hash
from toys import toy_installed

GRID = """
[protocol]
train = { epochs = 3, batch_size = 16, lr = 1e-2 }
latency = { batch = [] }
[[block]]
dataset = "blobs"
model = "tiny"
seed = 0
method = [METHOD]
"""


@pytest.fixture
def bench(tmp_path):
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", disabled_plugins=("all",), threads=1)
    bench.installed = toy_installed()
    return bench


def trial_of(method: str, protocol: str = ""):
    text = GRID.replace("METHOD", method).replace("latency = { batch = [] }", f"latency = {{ batch = [] }}\n{protocol}")
    return plan(Grid.parse(text), toy_installed()).trials[-1]


def result_of(bench, method: str, protocol: str = "") -> Result:
    result = run_trial(trial_of(method, protocol), bench)
    assert decode(encode(result), Result) == result
    return result


def test_the_dense_network_scores_and_counts(bench):
    measured = result_of(bench, '"dense"').measurement
    assert measured.top1_accuracy > 0.95 and measured.test_count == 80 and measured.realised
    assert measured.parameter_count == 16 * 12 + 12 + 12 * 4 + 4 and measured.mac_count == 16 * 12 + 12 * 4
    assert [point.phase for point in measured.curve] == ["train"] * 3


def test_a_masked_network_is_not_called_realised(bench):
    measured = result_of(bench, '{ use = "keep", share = 0.5 }').measurement
    assert measured.nonzero_parameter_count == 96 + 12 + 24 + 4 and not measured.realised
    assert measured.parameter_count == 256 and measured.curve == ()


def test_fine_tuning_keeps_the_zeros_and_both_accuracies(bench):
    measured = result_of(bench, '{ use = "keep", share = 0.6 }', "finetune = { epochs = 20, lr = 1e-2 }").measurement
    assert measured.nonzero_parameter_count <= 115 + 12 + 28 + 4
    assert measured.top1_accuracy > measured.top1_accuracy_before_finetune
    assert [point.phase for point in measured.curve] == ["finetune"] * 20


def test_a_target_is_solved_and_both_ends_are_kept(bench):
    measured = result_of(bench, '{ use = "keep", compression = 2 }').measurement
    assert measured.solved["share"] == pytest.approx(0.4666, abs=0.01)
    assert measured.achieved["compression"] == pytest.approx(2, rel=0.02)


def test_a_target_out_of_reach_is_declined_with_the_nearest(bench):
    result = result_of(bench, '{ use = "keep", compression = 100 }')
    assert result.status == "skipped" and "compression 100 is out of reach: the nearest is 16" in result.reason


def test_a_pipeline_keeps_what_every_stage_left(bench):
    line = '{ pipeline = [{ use = "keep", share = 0.8 }, { use = "keep", share = 0.4 }] }'
    measured = result_of(bench, line).measurement
    assert [stage.nonzero_parameter_count for stage in measured.stages] == [207, 111]


def test_a_declined_cell_is_a_row_with_its_reason(bench):
    result = result_of(bench, '"declines"')
    assert (result.status, result.reason) == ("skipped", "not on a Tuesday")
    in_stage = result_of(bench, '{ pipeline = ["dense", "declines"] }')
    assert in_stage.reason == "stage 2, declines: not on a Tuesday"


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ("value", "failed", "ValueError: this method is broken"),
        ("memory", "oom", "CUDA out of memory"),
        ("nan", "failed", "nan"),
        ("nothing", "failed", "prune returned NoneType, not a network"),
        ("bytes", "failed", "FileNotFoundError: no file a\\udcff"),
        ("declines in bytes", "skipped", "no file a\\udcff"),
        ("mute", "failed", "Mute"),
    ],
)
def test_a_failure_is_a_row_with_its_reason(bench, how, status, reason):
    result = result_of(bench, f'{{ use = "raises", how = "{how}" }}')
    assert result.status == status and reason.lower() in result.reason.lower() and result.measurement is None


def test_a_method_is_held_to_its_closed_form(bench):
    result = result_of(bench, '"liar"')
    assert result.status == "failed" and "it declared 136 nonzero parameters, 256 are" in result.reason


def test_no_method_touches_the_dense_network(bench):
    trial = trial_of('{ use = "keep", share = 0.1 }')
    before = bench.dense(trial).sha256
    for method in ('{ use = "keep", share = 0.1 }', '"dense"', '{ use = "raises", how = "nan" }'):
        result_of(bench, method, "finetune = { epochs = 1 }")
    assert weights_hash(bench.dense(trial).network) == before


def test_a_network_is_trained_once_and_then_read(bench, tmp_path):
    phases = []
    bench.progress = lambda phase, fraction: phases.append(phase)
    first = result_of(bench, '"dense"')
    bench.forget()
    second = result_of(bench, '"dense"')
    assert phases.count("train") == 1 + 3 and phases.count("waiting") == 1
    assert first.measurement.top1_accuracy == second.measurement.top1_accuracy
    assert first.provenance.dense_hash == second.provenance.dense_hash != ""


def test_the_latency_of_a_pair_is_kept_raw(bench):
    trial = trial_of('{ use = "keep", share = 0.5 }')
    text = GRID.replace("METHOD", '{ use = "keep", share = 0.5 }').replace(
        "batch = []", "batch = [4], max_seconds = 1.0, groups = 4"
    )
    trial = plan(Grid.parse(text), toy_installed()).trials[-1]
    (timing,) = run_trial(trial, bench).measurement.latency
    assert len(timing.dense_ms) == len(timing.pruned_ms) >= 8 and timing.batch == 4
    assert timing.speedup_low <= timing.speedup <= timing.speedup_high


def test_networks_are_timed_on_different_calibration_samples(bench, monkeypatch):
    given = []
    monkeypatch.setattr(
        "prunebench.trial.runner.latency", lambda dense, other, samples, *_: given.append(samples) or ()
    )
    text = (
        GRID.replace("METHOD", '"dense"')
        .replace("batch = []", "batch = [64]")
        .replace("[[block", "calibration = 70\n[[block")
    )
    assert run_trial(plan(Grid.parse(text), toy_installed()).trials[-1], bench).status == "ok"
    assert len(given[0].unique(dim=0)) == 70


def test_a_result_says_where_it_was_made(bench):
    provenance = result_of(bench, '"dense"').provenance
    assert provenance.torch == str(torch.__version__) and provenance.dataset_fingerprint == "blobs-0.5"
    assert provenance.plugins["method:dense"] == "here"


def test_out_of_memory_fine_tuning_takes_half_the_batch_and_says_so(bench):
    trial = trial_of('{ use = "keep", share = 0.5 }', "finetune = { epochs = 1, batch_size = 64 }")
    assert with_half_batches(trial).protocol.finetune.batch_size == 32
    assert with_half_batches(trial).network_id == trial.network_id
    result = TrialRunner(bench).run_trial(trial, batch_halved=True)
    assert result.trial == trial and "half the size" in result.measurement.notes[-1]
