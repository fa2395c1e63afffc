"""Dense networks on disk: whole, hashed, trained once."""

from __future__ import annotations

import pytest
import torch
from prunebench.records import CurvePoint
from prunebench.trial.checkpoints import Checkpoints
from safetensors import SafetensorError
from safetensors.torch import save

CURVE = (CurvePoint("train", 1, 0.5, 0.6, 0.7, 0.1),)


def test_what_is_written_is_read(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    weights = {"a": torch.randn(3, 2), "b": torch.arange(4)}
    checkpoints.write("n", weights, 1.5, CURVE)
    found = checkpoints.read("n")
    assert found.train_seconds == 1.5 and found.curve == CURVE
    assert all(torch.equal(found.weights[name], weights[name]) for name in weights)
    assert checkpoints.read("other") is None


def test_tensors_that_share_memory_are_kept_apart(tmp_path):
    shared = torch.randn(4, 4)
    Checkpoints(tmp_path).write("n", {"a": shared, "b": shared.t()}, 0, ())
    assert torch.equal(Checkpoints(tmp_path).read("n").weights["b"], shared.t())


def test_a_checkpoint_is_the_file_that_safetensors_makes_of_copies(tmp_path):
    whole = torch.randn(6, 4)
    weights = {"own": torch.randn(3, 2), "part": whole[:2], "turned": whole.t(), "one": torch.randn(5)[2:3]}
    weights |= {"half": torch.randn(4, 4).bfloat16(), "none": torch.empty(0, 3), "count": torch.tensor(3)}
    made = Checkpoints(tmp_path).write("n", weights, 0, ())
    copies = {name: value.clone(memory_format=torch.contiguous_format) for name, value in weights.items()}
    assert (tmp_path / "n.safetensors").read_bytes() == save(copies)
    assert all(torch.equal(made.weights[name], weights[name]) for name in weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.json", "n.safetensors"]


def test_only_what_a_file_cannot_hold_as_it_lies_is_copied(tmp_path):
    whole = torch.randn(6, 4)
    weights = {"own": torch.randn(3, 2), "part": whole[:2], "rest": whole[2:]}
    made = Checkpoints(tmp_path).write("n", weights, 0, ()).weights
    shared = [name for name in weights if made[name].data_ptr() == weights[name].data_ptr()]
    assert shared == ["own"]


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("prunebench.trial.checkpoints.save_file", full)
    with pytest.raises(OSError, match=r"n\.safetensors cannot be written: No space left"):
        Checkpoints(tmp_path).write("n", {"a": torch.randn(8)}, 0, ())
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_is_noticed_and_costs_a_training(tmp_path, capsys):
    Checkpoints(tmp_path).write("n", {"a": torch.randn(8)}, 0, ())
    path = tmp_path / "n.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert Checkpoints(tmp_path).read("n") is None
    assert "damaged: its hash differs; set aside, the network is trained again" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.json.damaged", "n.safetensors.damaged"]


def test_a_damaged_record_is_noticed(tmp_path, capsys):
    Checkpoints(tmp_path).write("n", {"a": torch.randn(8)}, 0, ())
    (tmp_path / "n.json").write_text("{")
    assert Checkpoints(tmp_path).read("n") is None
    assert "n.json is not a record" in capsys.readouterr().err


def test_a_network_of_other_code_is_trained_again(tmp_path):
    Checkpoints(tmp_path).write("n", {"a": torch.randn(8)}, 0, (), {"model:m": "editable 1"})
    assert Checkpoints(tmp_path).read("n", {"model:m": "editable 1", "dataset:d": "x"}) is not None
    assert Checkpoints(tmp_path).read("n") is not None
    assert Checkpoints(tmp_path).read("n", {"model:m": "editable 2"}) is None


def test_a_network_from_before_code_was_kept_is_read(tmp_path):
    Checkpoints(tmp_path).write("n", {"a": torch.randn(8)}, 0, ())
    assert Checkpoints(tmp_path).read("n", {"model:m": "editable 2"}) is not None


def test_weights_without_their_record_do_not_count(tmp_path):
    Checkpoints(tmp_path).write("n", {"a": torch.randn(8)}, 0, ())
    (tmp_path / "n.json").unlink()
    assert Checkpoints(tmp_path).read("n") is None


def test_a_tensor_of_two_names_is_stored_once(tmp_path):
    network = torch.nn.ModuleDict({"first": torch.nn.Embedding(50, 40), "head": torch.nn.Linear(40, 50, bias=False)})
    network["head"].weight = network["first"].weight
    Checkpoints(tmp_path).write("n", network.state_dict(), 0, ())
    assert (tmp_path / "n.safetensors").stat().st_size < 1.2 * 50 * 40 * 4
    found = Checkpoints(tmp_path).read("n").weights
    assert found.keys() == network.state_dict().keys()
    network.load_state_dict(found)
    assert torch.equal(found["head.weight"], network["first"].weight)
