"""`isolate`: a worker runs trials of one origin only, and a grid's order keeps replacements few."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "executors"))

import pytest
from prunebench.engine.session import by_origin
from prunebench.errors import GridError
from prunebench.grid.protocols import run_options


def test_workers_are_replaced_between_origins_and_no_trial_is_lost():
    from executor_toys import results, toy
    from prunebench.engine.executors import WorkerLost
    from test_supervisor import Puppets, supervise

    puppets = Puppets()
    supervisor = supervise(puppets)
    supervisor.isolate(lambda trial: "theirs" if trial.method.use.startswith("their") else "")
    events = list(supervisor.run([toy("a"), toy("b"), toy("their1"), toy("their2"), toy("c")]))
    assert [result.status for result in results(events).values()] == ["ok"] * 5
    assert puppets.killed == ["cpu:0", "cpu:0"] and not any(isinstance(event, WorkerLost) for event in events)


def test_trials_of_one_network_lie_by_origin_behind_its_dense_one():
    from executor_toys import toy

    trials = (toy("dense"), toy("x"), toy("a"), toy("y"), toy("b"), toy("z", network=1))
    origins = {trial.id: "theirs" if trial.method.use in "xyz" else "" for trial in trials}
    assert [trial.method.use for trial in by_origin(trials, origins)] == ["dense", "a", "b", "x", "y", "z"]


def test_a_grid_says_isolate_by_true_or_false():
    assert run_options({"isolate": True}).isolate and not run_options({}).isolate
    with pytest.raises(GridError, match=r"run\.isolate must be true or false, got 'yes'"):
        run_options({"isolate": "yes"})


def test_an_extra_loss_moves_the_weights_and_not_the_curve(tmp_path):
    from prunebench.testing import bench

    def trained(weight: float):
        dense = bench.network("fully connected")
        curve = bench.task(dense).fit(
            dense, epochs=1, lr=1e-2, extra_loss=lambda: weight * sum(p.square().sum() for p in dense.parameters())
        )
        return sum(float(p.detach().square().sum()) for p in dense.parameters()), curve[0].train_loss

    plain, pulled = trained(0.0), trained(10.0)
    assert pulled[0] < 0.9 * plain[0] and pulled[1] < 10
