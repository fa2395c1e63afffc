"""Pipelines of bundled methods with a target: what is asked of a stage is what that stage leaves."""

from __future__ import annotations

import pytest
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.records import Measurement, Result
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench

GRID = """
[protocol]
train = { epochs = 1, lr = 2e-3 }
calibration = 64
latency = { batch = [] }
evaluation_limit = 100
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = { pipeline = [STAGES] }
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    folder = tmp_path_factory.mktemp("targets")
    return Workbench(data_dir=folder, checkpoints=folder / "checkpoints", threads=1)


def result_of(bench: Workbench, *stages: str) -> Result:
    text = GRID.replace("STAGES", ", ".join(stages))
    return run_trial(plan(Grid.parse(text), find_installed()).trials[-1], bench)


def measured(result: Result) -> Measurement:
    assert result.status == "ok" and result.measurement is not None, result.reason
    return result.measurement


@pytest.mark.parametrize("mask", ["wanda", "sparsegpt", "random_pattern"])
def test_a_mask_of_a_target_and_then_bits_reach_it_in_fewer_bytes(bench: Workbench, mask: str) -> None:
    masked = f'{{ use = "{mask}", compression = 4 }}'
    alone = measured(result_of(bench, masked))
    both = measured(result_of(bench, masked, '{ use = "rtn", bits = 4, group = 16 }'))
    first, last = both.stages
    assert first.nonzero_parameter_count == alone.nonzero_parameter_count
    dense = alone.parameter_count  # a mask takes no parameter away
    for found in (alone, both):
        assert found.achieved["compression"] == dense / first.nonzero_parameter_count
        assert found.achieved["compression"] == pytest.approx(4, rel=0.03)
        assert 0.2 < found.solved["keep"] < 0.25  # biases stay, so that fewer weights may
    scales = last.parameter_count - first.parameter_count  # and zero points, of every group
    assert last.nonzero_parameter_count - scales <= first.nonzero_parameter_count, "zeros have a code of their own"
    assert both.stored_bytes < alone.stored_bytes


def test_factors_of_a_target_and_then_bits_reach_it_in_fewer_bytes(bench: Workbench) -> None:
    factors = '{ use = "low_rank", theoretical_speedup = 2 }'
    alone = measured(result_of(bench, factors))
    both = measured(result_of(bench, factors, '{ use = "rtn", bits = 8 }'))
    first, last = both.stages
    assert first.mac_count == last.mac_count == alone.mac_count
    dense = measured(result_of(bench, '"dense"', '"dense"')).mac_count
    assert both.achieved["theoretical_speedup"] == dense / first.mac_count == pytest.approx(2, rel=0.1)
    assert both.solved == alone.solved
    assert both.stored_bytes < 0.5 * alone.stored_bytes


def test_a_mask_that_is_asked_for_speed_is_declined_with_what_is_near(bench: Workbench) -> None:
    result = result_of(bench, '{ use = "wanda", theoretical_speedup = 2 }', '{ use = "rtn", bits = 8 }')
    assert result.status == "skipped" and result.measurement is None
    assert "theoretical_speedup 2 is out of reach: the nearest is 1 at keep" in result.reason
