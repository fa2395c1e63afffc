"""Saved networks: the same outputs in a process without plugins, held to their hashes, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import prunebench
import pytest
import torch
from prunebench.cli import main
from prunebench.engine.executors.here import HereExecutor
from prunebench.engine.session import Outcome, against, execute
from prunebench.errors import PruneBenchError
from prunebench.export.memory import _as_bytes, fresh_process, said_above_imports
from prunebench.export.packing import pack, unpack
from prunebench.export.rebuild import differences
from prunebench.export.save import save
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.store import Store
from prunebench.trial.runner import TrialRunner
from prunebench.trial.workbench import Workbench
from torch import nn

GRID = """
[protocol]
train = { epochs = 0, steps = 4, batch_size = 64 }
latency = { batch = [] }
calibration = 32
evaluation_limit = 64
[[block]]
dataset = "digits"
model = "lenet5"
seed = 0
method = [{ use = "low_rank", rank_ratio = 0.5 }]
"""
FRESH = """
import sys, torch, prunebench
network = prunebench.load(sys.argv[1])
torch.save(network(torch.load(sys.argv[2])), sys.argv[3])
assert not any(name.startswith("prunebench_") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(database, id of the low-rank trial) of a LeNet-5."""
    db = tmp_path_factory.mktemp("export") / "r.duckdb"
    installed = find_installed()
    prepared = against(Store(db), plan(Grid.parse(GRID), installed), installed)
    bench = Workbench(data_dir=db.parent, checkpoints=db.parent / "checkpoints", installed=installed)
    outcome = Outcome("grid", db, 2, 0)
    execute(prepared, HereExecutor(TrialRunner(bench).run_trial), outcome, lambda event: None)
    assert outcome.statuses == {"ok": 2}
    return db, prepared.plan.trials[1].id


def bench(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def test_a_row_is_saved_loaded_in_a_fresh_process_and_refused_tampered(stored, tmp_path, capsys):
    db, trial = stored
    path = tmp_path / "net.pt2"
    code, out, err = bench(capsys, "save", trial[:8], "-o", path, "--db", db, "--json")
    assert code == 0, err
    card = json.loads(out)
    rows = prunebench.open_results(db).query(f"select top1_accuracy, loss from trials where trial_id = '{trial}'")
    assert card["made_again"]["loss"] == pytest.approx(rows["loss"][0], rel=1e-6)
    images = torch.rand(3, 1, 32, 32)
    torch.save(images, tmp_path / "in.pt")
    command = [sys.executable, "-W", "ignore", "-c", FRESH, path, tmp_path / "in.pt", tmp_path / "out.pt"]
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PRUNEBENCH_DISABLE_PLUGINS": "all"})
    torch.testing.assert_close(torch.load(tmp_path / "out.pt"), prunebench.load(path)(images))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PruneBenchError, match="is not what was saved"):
        prunebench.load(path)


def test_a_row_repeats_and_a_missing_checkpoint_is_one_line(stored, tmp_path, capsys):
    db, trial = stored
    code, out, err = bench(capsys, "repro", trial, "--db", db)
    assert (code, err) == (0, "") and "the same" in out
    moved = (db.parent / "checkpoints").rename(db.parent / "elsewhere")
    code, _, err = bench(capsys, "save", trial, "-o", tmp_path / "net.pt2", "--db", db)
    moved.rename(db.parent / "checkpoints")
    assert code == 2 and "no checkpoint" in err and err.count("\n") == 1
    code, _, err = bench(capsys, "save", trial, "-o", tmp_path / "net.zip", "--db", db)
    assert code == 2 and "no format '.zip'" in err
    assert not list(tmp_path.iterdir())


def test_a_row_of_another_machine_needs_its_database_and_weights_alone(stored, tmp_path, capsys):
    db, trial = stored
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(db, tmp_path / "theirs.duckdb")
    for file in (db.parent / "checkpoints").glob("*.*"):
        shutil.copy(file, tmp_path / "checkpoints")
    out = tmp_path / "net.safetensors"
    code, told, err = bench(capsys, "save", trial, "-o", out, "--db", tmp_path / "theirs.duckdb", "--memory", "--json")
    assert code == 0, err
    card, needed = json.loads(told), json.loads(told)["fresh_process"]
    assert card["trial"] == trial and card["largest_difference"] <= 1e-5
    assert json.loads((tmp_path / "net.safetensors.card.json").read_text())["fresh_process"] == needed
    assert needed["batch"] == 1 and 0 <= needed["above_imports_bytes"] < needed["peak_bytes"]
    images = torch.rand(2, 1, 32, 32)
    assert prunebench.load(out)(images).shape == (2, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of the peak is Linux's")
@pytest.mark.parametrize(("width", "least"), [(2048, 4 * 2048 * 2049), (8, 0)])
def test_a_fresh_process_needs_the_weights_above_its_imports(width, least, tmp_path):
    """16 MB of weights were hidden below what the imports of torch need for a while; loading by itself takes 10 MB."""
    network, inputs = nn.Sequential(nn.Linear(width, width)), torch.randn(2, width)
    save(network, inputs, tmp_path / "net.safetensors", {})
    needed = fresh_process(tmp_path / "net.safetensors", inputs, tmp_path)
    assert max(least, 1) <= needed["above_imports_bytes"] <= 4 * least + (32 << 20)
    assert needed["peak_bytes"] > needed["above_imports_bytes"] + (100 << 20)


def test_what_cannot_be_told_from_nothing_is_said_to_be_so():
    assert said_above_imports({"above_imports_bytes": 3 << 20}) == "3,145,728"
    for above in (0, (2 << 20) - 1):
        assert said_above_imports({"above_imports_bytes": above}).startswith("less than 2,097,152")


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt2", "net", "net.onnx"])
def test_each_format_gives_the_same_outputs(name, tmp_path):
    if name == "net.onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, bias=False))
    inputs = torch.randn(6, 1, 4, 4)
    card = save(network, inputs, tmp_path / name, {})
    assert card["largest_difference"] <= 1e-5 and card["file_bytes"] > 4 * 196
    if name != "net.onnx":
        torch.testing.assert_close(prunebench.load(tmp_path / name)(inputs), network(inputs))


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    class Own(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(PruneBenchError, match="is not a layer of torch's own"):
        save(Own(), torch.randn(4, 2), tmp_path / "net.safetensors", {})
    with pytest.raises(PruneBenchError, match="cannot be exported"):
        save(Own(), torch.randn(4, 2), tmp_path / "net.pt2", {})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:  # torch's own writer would end the process
        disk.setattr(Path, "write_bytes", full)
        for name in ("net.safetensors", "net.pt2", "net"):
            with pytest.raises(PruneBenchError, match="No space left on device; nothing is left"):
                save(nn.Sequential(nn.Linear(2, 2)), torch.randn(4, 2), tmp_path / name, {})

    def full_at_the_end(source, target):
        Path(source).rename(target) if str(target).endswith(".card.json") else full()

    monkeypatch.setattr("prunebench.export.save.os.replace", full_at_the_end)
    with pytest.raises(PruneBenchError, match="No space left on device; nothing is left"):
        save(nn.Sequential(nn.Linear(2, 2)), torch.randn(4, 2), tmp_path / "net.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_of_a_few_inputs_no_more_is_written_than_they_are():
    many = torch.arange(40_000.0).reshape(1000, 40)
    for for_onnx in (False, True):
        assert len(_as_bytes(many[:1], for_onnx)) < 4000
    assert torch.equal(torch.load(BytesIO(_as_bytes({"x": many[3:4]}, False)))["x"], many[3:4])


def mask(weight):
    kept = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    return weight.mul_(kept), int(kept.sum()) * 5  # of an entry four bytes and a gap


def share(weight):
    values = torch.linspace(-1, 1, 16)[torch.randint(16, weight.shape, generator=torch.Generator().manual_seed(1))]
    return weight.copy_(values), weight.numel() // 2


@pytest.mark.parametrize(("change", "name"), [(mask, "net.safetensors"), (mask, "net"), (share, "net.safetensors")])
def test_zeros_and_shared_values_take_the_bytes_that_they_need(change, name, tmp_path):
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(256, 100), nn.Tanh(), nn.Linear(100, 4)), torch.randn(5, 256)
    with torch.no_grad():
        _, needed = change(network[0].weight)
    card = save(network, x, tmp_path / name, {})
    place = tmp_path / name / "weights.safetensors" if name == "net" else tmp_path / name
    assert "0.weight" in card["packed"]
    assert needed < place.stat().st_size < 1.1 * needed + 4 * 504 + 1000
    assert torch.equal(prunebench.load(tmp_path / name)(x), network(x))
    if name == "net":
        assert (tmp_path / name / "network.pt2").stat().st_size < 60_000, "the weights are not in the program as well"


def test_a_grid_of_four_bits_is_two_codes_a_byte(tmp_path):
    from prunebench_methods.quantization.grids import attach, fitted_grid

    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 3)), torch.randn(5, 128)
    weight = network[0].weight.detach()
    grid = fitted_grid(weight, 32, 4, symmetric=False)
    attach(network[0], [grid], [grid.codes(weight)])
    card = save(network, x, tmp_path / "net.safetensors", {})
    assert card["packed"]["0.weight"] == "codes of 4 bits of a grid"
    codes, scales, zeros = 64 * 128 // 2, 64 * 4 * 2, 64 * 4 // 2
    exact = codes + scales + zeros + 4 * (64 + 3 * 64 + 3)
    assert exact <= card["file_bytes"] < exact + 1500
    back = prunebench.load(tmp_path / "net.safetensors")
    assert torch.equal(back[0].weight, network[0].weight) and torch.equal(back(x), network(x))


def test_what_is_packed_comes_back_bit_by_bit():
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(8, generator=generator)[torch.randint(8, (40, 60), generator=generator)]
    rare = torch.zeros(9000)
    rare[[3, 700, 8999]] = torch.tensor([1.0, float("nan"), -2.0])
    pieces = torch.randn(15, 4, 4, generator=generator)
    picked = torch.stack([p[torch.randint(4, (40,), generator=generator)] for p in pieces], 1).reshape(40, 60)
    state = {"few": few, "half": few.bfloat16() * (few > 0), "rare": rare[:8000], "pieces": picked, "tied": few}
    state |= {"codes": (few * 3).to(torch.int8), "plain": torch.randn(20, 20, generator=generator), "nan": rare}
    stored, told = pack(state)
    back = unpack(stored, told)
    assert {how.get("values") for how in told.values()} == {"book", "plain", "dictionary", None}
    assert "plain" not in told and told["tied"] == {"same": "few"}
    for name, value in state.items():
        assert back[name].dtype == value.dtype and torch.equal(back[name].nan_to_num(7), value.nan_to_num(7)), name


def test_a_program_for_one_batch_size_says_so(tmp_path):
    class Counting(nn.Module):
        def forward(self, x):
            return x * len(x)  # which torch.export takes for a number

    card = save(Counting(), torch.randn(6, 3), tmp_path / "net.pt2", {})
    assert card["batch"] == "4" and prunebench.load(tmp_path / "net.pt2")(torch.ones(4, 3))[0, 0] == 4


def test_differences_are_told_by_name():
    then = {"loss": 0.5, "parameter_count": 10, "top1_accuracy": None}
    assert differences(then, {"loss": 0.500001, "parameter_count": 10, "top1_accuracy": 1.0}) == []
    assert differences(then, {"loss": 0.6, "parameter_count": 9}) == [
        "parameter_count was 10, is 9",
        "loss was 0.5, is 0.6",
    ]


def test_layers_come_back_in_their_order_whatever_their_names(tmp_path):
    parts = {"z": nn.Linear(2, 3), "a": nn.Tanh(), "m": nn.Linear(3, 4)}
    network, x = nn.Sequential(), torch.randn(4, 2)
    for name, part in parts.items():
        network.add_module(name, part)
    save(network, x, tmp_path / "net.safetensors", {})
    torch.testing.assert_close(prunebench.load(tmp_path / "net.safetensors")(x), network(x))
