"""`prunebench.compare`: a network and data in hand, measured like any model, and refused in one line."""

from __future__ import annotations

import copy

import prunebench
import pytest
import torch
from prunebench.errors import PruneBenchError
from prunebench.own.compare import toml
from prunebench.own.network import network_code
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

QUICK = {"latency": {"batch": []}, "calibration": 32}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def samples(count: int = 120):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 4
    centres = torch.randn(4, 16, generator=generator)
    return centres[labels] + 0.8 * torch.randn(count, 16, generator=generator), labels


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    network, (inputs, labels) = Net(), samples()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network.eval()


def compare(network, data, methods=("low_rank",), **options):
    return prunebench.compare(network, data, list(methods), protocol=QUICK, quiet=True, **options)


def test_the_dense_row_scores_what_the_network_itself_does(trained, tmp_path):
    test = samples(200)
    before = copy.deepcopy(trained.state_dict())
    found = compare(trained, samples(), test=test, targets={"compression": 2}, db=tmp_path / "r.duckdb")
    rows = found.frame
    assert rows["status"].to_list() == ["ok", "ok"]
    own = float((trained(test[0]).argmax(1) == test[1]).float().mean())
    assert rows["top1_accuracy"][0] == pytest.approx(own, abs=1e-6)
    assert rows["compression_ratio"][1] == pytest.approx(2, rel=0.2)
    assert all(torch.equal(trained.state_dict()[name], value) for name, value in before.items())
    assert "prunebench" not in repr(found) and found.chart().to_dict()["data"]


def test_what_is_stored_runs_once_and_a_changed_weight_again(trained, tmp_path):
    db, (inputs, labels) = tmp_path / "r.duckdb", samples()
    first = compare(trained, (inputs, labels), [{"use": "magnitude", "keep": 0.5}], db=db)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=7, shuffle=True)
    again = compare(trained, loader, [{"use": "magnitude", "keep": 0.5}], db=db)
    assert (first.outcome.done_count, again.outcome.done_count, again.outcome.statuses) == (0, 2, {})
    other = copy.deepcopy(trained)
    with torch.no_grad():
        other.first.bias[0] += 1e-3
    assert network_code(other) != network_code(trained) == network_code(copy.deepcopy(trained))
    assert compare(other, loader, [{"use": "magnitude", "keep": 0.5}], db=db).outcome.done_count == 0


def test_a_loss_of_ones_own_scores_and_floats_are_regression(trained, tmp_path):
    inputs, labels = samples()
    wanted = nn.functional.one_hot(labels, 4).float()
    test = (inputs[:40], wanted[:40])
    with torch.no_grad():
        answers = trained(test[0])
    own = compare(trained, (inputs, wanted), ["dense"], test=test, loss=nn.L1Loss(), db=tmp_path / "a.duckdb")
    assert own.frame["loss"][0] == pytest.approx(float(nn.functional.l1_loss(answers, test[1])), rel=1e-5)
    numbers = compare(trained, TensorDataset(inputs, wanted), ["dense"], test=test, db=tmp_path / "b.duckdb")
    assert numbers.frame["loss"][0] == pytest.approx(float(nn.functional.mse_loss(answers, test[1])), rel=1e-5)


def test_what_cannot_be_compared_is_one_line(trained, tmp_path):
    inputs, labels = samples()
    db = tmp_path / "r.duckdb"
    cases = [
        ((Net, (inputs, labels)), {}, "must be an nn.Module"),
        ((trained, inputs), {}, "a pair \\(inputs, targets\\)"),
        ((trained, TensorDataset(inputs)), {}, "give them their targets"),
        ((trained, (inputs, labels[:-1])), {}, "119 targets"),
        ((trained, (inputs, labels + 1)), {}, "numbered from 0"),
        ((trained, (inputs[:, :5], labels)), {}, "does not accept the inputs"),
        ((trained, (inputs, labels.int())), {}, "give loss="),
        ((trained, (inputs, labels)), {"loss": lambda y, t: y.sum() * float("nan")}, "must be finite"),
        ((trained, (inputs, labels)), {"targets": {"speed": 2}}, "no target 'speed'"),
        ((trained, (inputs, labels)), {"name": "lenet5"}, "is an installed model's"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(PruneBenchError, match=message) as caught:
            compare(*arguments, db=db, **options)
        assert "\n" not in str(caught.value)
    assert not db.exists()


def test_settings_are_written_as_toml_reads_them():
    import tomllib

    table = {"text": 'a"b\\ü\x7f', "numbers": [1, 2.5, 1e-7], "on": True, "inner": {"keep": (0.5,)}}
    assert tomllib.loads(f"x = {toml(table)}")["x"] == {**table, "inner": {"keep": [0.5]}}
