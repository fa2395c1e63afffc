"""`use = "import"`: a network and data of one's own in a grid, by name; what is wrong with either is one line."""

from __future__ import annotations

from itertools import count

import pytest
import torch
from prunebench.engine.executors.here import HereExecutor
from prunebench.engine.session import Outcome, against, execute
from prunebench.errors import PruneBenchError
from prunebench.export.rows import row_of
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.target import Target
from prunebench.store import Store
from prunebench.trial.runner import TrialRunner, made, run_trial
from prunebench.trial.workbench import Workbench
from safetensors.torch import save_file
from torch import nn

NUMBER = count()
MODULE = """
import torch
from PACKAGE.parts import layer
from torch import nn

def build(outputs, width=8):
    return nn.Sequential(layer(16, width), nn.ReLU(), layer(width, outputs))

def text():
    return "no network"

def broken():
    raise RuntimeError("no such card")

def data(count=120):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 4
    centres = torch.randn(4, 16, generator=generator)
    return centres[labels] + 0.5 * torch.randn(count, 16, generator=generator), labels

def parted():
    return {"train": data(120), "test": data(40)}

def alone():
    return data()[0]

ANSWER = 42
"""
PARTS = "from torch import nn\n\ndef layer(inputs, outputs):\n    return nn.Linear(inputs, outputs)\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package in the current folder; another one each time, for Python keeps what it imported."""
    name = f"own_networks_{next(NUMBER)}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.py").write_text(MODULE.replace("PACKAGE", name))
    (tmp_path / name / "parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    return name


def trials(package, model="build", data="data", **fields):
    extra = "".join(f", {key} = {value}" for key, value in fields.items())
    text = f"""
        [protocol]
        train = {{ epochs = 2, batch_size = 32, lr = 1e-2 }}
        latency = {{ batch = [] }}
        calibration = 32
        [[block]]
        dataset = {{ use = "import", target = "{package}.mine:{data}" }}
        model = {{ use = "import", target = "{package}.mine:{model}"{extra} }}
        seed = 0
        method = {{ use = "magnitude", keep = 0.5 }}
    """
    installed = find_installed()
    return plan(Grid.parse(text), installed).trials, installed


def run(tmp_path, planned, installed):
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", installed=installed)
    return [run_trial(trial, bench) for trial in planned]


def test_a_network_and_data_of_ones_own_run_and_are_saved_from_their_row(package, tmp_path):
    planned, installed = trials(package, arguments="[{ width = 8 }, { width = 16 }]")
    assert [trial.model.params["arguments"] for trial in planned[::2]] == [{"width": 8}, {"width": 16}]
    db = tmp_path / "r.duckdb"
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", installed=installed)
    prepared = against(Store(db), plan_of(planned), installed)
    outcome = Outcome("grid", db, 4, 0)
    execute(prepared, HereExecutor(TrialRunner(bench).run_trial), outcome, lambda event: None)
    assert outcome.statuses == {"ok": 4}
    row = row_of(db, planned[3].id)
    assert row.trial.id == planned[3].id and row.facts["parameter_count"] == 16 * 16 + 16 + 16 * 4 + 4
    _, _, scores = made(row.trial, bench)
    assert scores.top1_accuracy == row.facts["top1_accuracy"]


def plan_of(planned):
    from prunebench.grid.plan import Plan

    return Plan(Grid.parse('[[block]]\ndataset = "digits"\nmodel = "lenet5"\nmethod = "dense"', name="grid"), planned)


def test_a_line_changed_in_a_module_that_is_imported_is_another_trial(package, tmp_path):
    before, _ = trials(package)
    (tmp_path / package / "unrelated.py").write_text("x = 1\n")
    assert trials(package)[0][0].id == before[0].id
    (tmp_path / package / "parts.py").write_text(PARTS + "# changed\n")
    assert trials(package)[0][0].id != before[0].id


def test_weights_are_loaded_part_of_identity_and_not_trained_again(package, tmp_path):
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    planned, installed = trials(package, weights='"w.safetensors"')
    dense = run(tmp_path, planned, installed)[0]
    assert dense.measurement.curve == ()
    inputs, _ = Target(f"{package}.mine:parted").call({})["test"]
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints", installed=installed)
    torch.testing.assert_close(bench.dense(planned[0]).network(inputs), network(inputs))
    save_file({key: value + 1 for key, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    assert trials(package, weights='"w.safetensors"')[0][0].id != planned[0].id
    with pytest.raises(PruneBenchError, match="not those that the trial was planned with"):
        Workbench(data_dir=tmp_path, checkpoints=tmp_path / "c", installed=installed).dense(planned[0])


def test_a_test_set_of_ones_own_is_what_is_scored(package, tmp_path):
    planned, installed = trials(package, data="parted")
    assert run(tmp_path, planned[:1], installed)[0].measurement.test_count == 40


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "bild"}, "defines no 'bild', did you mean 'build'?"),
        ({"weights": '"none.safetensors"'}, "there is no file"),
        ({"weights": '"w.zip"'}, "must be a file .safetensors, .pt, .pth"),
        ({"arguments": "3"}, "expected a table"),
        ({"arguments": "[]"}, "the axis is empty"),
        ({"target": '"mine.build"'}, "is not written as package.module:function"),
        ({"target": '"nowhere.mine:build"'}, "no module nowhere.mine on Python's path"),
        ({"target": '"nowhere.py:build"'}, "there is no file"),
        ({"target": '"a b:build"'}, "is not a module's name"),
    ],
)
def test_what_a_grid_says_wrongly_is_one_line_before_anything_runs(package, fields, message):
    target = fields.pop("target", f'"{package}.mine:{fields.pop("model", "build")}"')
    extra = "".join(f", {key} = {value}" for key, value in fields.items())
    text = f'[[block]]\ndataset = "digits"\nmethod = "dense"\nmodel = {{ use = "import", target = {target}{extra} }}'
    with pytest.raises(PruneBenchError) as caught:
        plan(Grid.parse(text), find_installed())
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "text"}, "must return an nn.Module, got str"),
        ({"model": "broken"}, "raised RuntimeError: no such card"),
        ({"model": "ANSWER"}, "is a int: name a function or a class"),
        ({"arguments": "{ widht = 3 }"}, "unexpected keyword argument 'widht'"),
        ({"data": "alone"}, "must be a pair (inputs, targets)"),
    ],
)
def test_what_a_function_does_wrongly_is_the_reason_of_the_row(package, tmp_path, fields, message):
    (result, _) = run(tmp_path, *trials(package, **fields))
    assert result.status == "failed" and message in result.reason and "\n" not in result.reason


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"0.weight": torch.zeros(8, 16)}, "they lack 0.bias, 2.bias, 2.weight"),
        ({"0.weight": torch.zeros(8, 15)}, "0.weight is (8, 15), the network's (8, 16)"),
        ({"3.bias": torch.zeros(1)}, "they have 3.bias, which it has not"),
        (b"nothing", "cannot be read as weights"),
    ],
)
def test_weights_that_do_not_fit_say_which(package, tmp_path, tensors, message):
    whole = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).state_dict()
    if isinstance(tensors, bytes):
        (tmp_path / "w.safetensors").write_bytes(tensors)
    else:
        save_file(tensors if "lack" in message else {**whole, **tensors}, tmp_path / "w.safetensors")
    (result, _) = run(tmp_path, *trials(package, weights='"w.safetensors"'))
    assert result.status == "failed" and message in result.reason


def test_a_module_with_a_fault_says_so_and_what_it_prints_is_kept_back(package, tmp_path, capsys):
    (tmp_path / package / "loud.py").write_text("print('hello')\nimport nothing_like_it\ndef build(): pass\n")
    with pytest.raises(PruneBenchError, match="No module named 'nothing_like_it'"):
        Target(f"{package}.loud:build").found()
    assert capsys.readouterr().out == ""
    (tmp_path / package / "text.py").write_text("def build(:\n")
    with pytest.raises(ValueError, match="is not Python"):
        Target(f"{package}.text:build").check()


def test_the_version_stands_for_the_text_of_an_installed_package():
    target = Target("torchvision.models.resnet:resnet18")
    target.check()
    assert target.code() == Target("torchvision.models.resnet:resnet18").code()
    assert target.code() != Target("torchvision.models.resnet:resnet34").code()
