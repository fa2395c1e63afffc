"""What a trial and its timing take of memory: reckoned, held against what is taken, and what is done where it lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prunebench.measure import memory_need, unchanged
from prunebench.measure.latency import copies, in_turns
from prunebench.measure.latency.copies import held
from prunebench.measure.latency.faults import ChangedWeights
from prunebench.measure.latency.in_turns import Stage
from prunebench.measure.latency.latency import FLAGS, latency, measured
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.memory import _Alive
from prunebench.measure.memory_need import Need, gram_bytes, need, weight_bytes, working_bytes
from prunebench.measure.scores import evaluating
from prunebench.measure.unchanged import Kept, sums_of
from prunebench.records import LatencyProtocol
from prunebench.samples import batch_size
from prunebench.trial.masks import private_copy
from prunebench_models.language import TinyGpt
from torch import nn

CPU = torch.device("cpu")
PROTOCOL = LatencyProtocol(batch=(2,), groups=2, max_seconds=0.05)
MODEL = TinyGpt(depth=2, width=32, heads=4, key_value_heads=2, mlp=48, window=16)


def decoder(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    return MODEL.build(256).eval().to(dtype)


def tokens(count: int = 4) -> torch.Tensor:
    return torch.randint(256, (count, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    """Sets what is said to be free on the device, in bytes beyond the networks; nothing is roomy."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(copies, "free_bytes", lambda device: count)

    monkeypatch.setattr(memory_need, "ROOMY_BYTES", 1 << 60)
    return pretend


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8, torch.bool])
@pytest.mark.parametrize("shape", [(), (3,), (5, 7), (70_001,)])
def test_a_single_changed_bit_changes_the_sums(shape: tuple[int, ...], dtype: torch.dtype):
    value = torch.rand(shape, generator=torch.Generator().manual_seed(0)).mul(2).to(dtype)
    before = sums_of(value).sums.clone()
    raw = value.reshape(-1).as_strided((value.numel(),), (1,)).view(torch.uint8)
    for place in {0, len(raw) // 2, len(raw) - 1}:
        raw[place] ^= 1
        assert not torch.equal(sums_of(value).sums, before)
        raw[place] ^= 1
    assert torch.equal(sums_of(value).sums, before)


def test_turned_signs_and_exchanged_words_change_the_sums(monkeypatch):
    monkeypatch.setattr(unchanged, "PIECE_ROWS", 2)
    value = torch.randn(13, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = sums_of(value).sums
    assert before.shape == (6,)  # 5200 words: five whole rows and a part, in three pieces and the rest
    assert not bool((sums_of(-value).sums == before).any()), "each row shows it"
    assert not torch.equal(sums_of(value.flatten().flip(0)).sums, before)
    two = value.clone().flatten()
    two[[3, 40]] = two[[40, 3]]
    assert (sums_of(two).sums != before).nonzero().flatten().tolist() == [0]
    turned = value.clone().flatten()
    turned[[3, 40]] *= -1  # uppermost bits alone, two of them
    assert (sums_of(turned).sums != before).nonzero().flatten().tolist() == [0]
    laid = value.T.contiguous().T
    assert torch.equal(sums_of(laid).sums, before), "not contiguous, the same numbers"


def test_sums_are_exact_for_the_largest_words_and_those_of_whole_numbers():
    words = torch.full((2050,), -(2**31), dtype=torch.int32)
    words[5], words[1030] = 2**31 - 1, 7
    factors = [int(factor) for factor in unchanged._factors(CPU)]
    assert len(set(factors)) == len(factors) == 1024 and min(factors) >= 1
    padded = [int(word) for word in words] + [0] * (3 * 1024 - 2050)
    wanted = [sum(f * w for f, w in zip(factors, padded[row * 1024 :], strict=False)) for row in range(3)]
    assert max(map(abs, wanted)) < 2**53
    assert [int(found) for found in sums_of(words).sums] == wanted
    shifted = torch.cat([words.view(torch.int16)[:1], words.view(torch.int16)])[1:]  # begins within a word
    assert [int(found) for found in sums_of(shifted).sums] == wanted


@pytest.mark.parametrize("copied", [0, 1 << 30])
def test_what_a_forward_pass_changes_is_found_with_and_without_copies(copied: int):
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    kept = Kept.of(network, copied)
    assert bool(kept.copies) != bool(kept.sums)
    kept.require_unchanged(network)
    network[1].running_mean[2] += 1e-6
    with pytest.raises(ChangedWeights, match=r"1\.running_mean"):
        kept.require_unchanged(network)


def test_the_formula_is_what_a_copy_and_a_batch_take():
    dense = decoder()
    size, own = batch_size(dense, tokens(1)), weight_bytes(dense)
    x = tokens(min(size, 32))
    with _Alive(x) as alive, evaluating(dense), torch.inference_mode():
        pruned = private_copy(dense)
        pruned(x)
    needed = need(own, own, working_bytes(dense, x, CPU))
    assert needed.total == pytest.approx(own + alive.peak, rel=0.02)


def test_a_model_of_seven_billions_fits_one_card_without_copies():
    weights, working = 14_500_000_000, 2_000_000_000
    assert need(weights, weights, working, "shared").total == 31_000_000_000
    assert need(weights, weights, working, "copies", copies=2 * weights).total == 60_000_000_000
    assert need(weights, 3, working, "turns") == Need(weights, 0, working=working)
    assert str(need(weights, weights, 0)) == "29.0 GB (dense 14.5 GB, pruned 14.5 GB)"


def test_layers_that_read_one_tensor_have_one_gram_matrix():
    from prunebench.measure.counts import layer_shapes

    network = decoder()
    found = gram_bytes(layer_shapes(network, tokens(1)), MODEL.anatomy(network))
    assert found == 2 * 8 * (32**2 + 32**2 + 32**2 + 48**2), "of q, k, v; the output; gate and up; down: two blocks"


def sides_of(dtype: str = "float32") -> Comparison:
    return Comparison(decoder(0), decoder(1), tokens(2), replace(PROTOCOL, dtype=dtype), CPU, 0)


def test_copies_are_made_while_they_fit_and_not_beyond(free):
    asked = sides_of()
    own, working = weight_bytes(asked.dense), working_bytes(asked.dense, asked.x, CPU)
    free(4 * own + working)
    assert held(asked).hold == "copies"
    free(4 * own + working - 1)
    assert held(asked).hold == "shared"
    free(working - 1)
    with pytest.raises(torch.OutOfMemoryError, match=r"timing a batch of 2 needs 0\.\d MB \(dense") as error:
        held(asked)
    assert "\n" not in str(error.value)


def test_a_type_that_networks_are_not_in_needs_copies(free):
    free(working_bytes(decoder(), tokens(2), CPU))
    with pytest.raises(torch.OutOfMemoryError, match="copies"):
        held(sides_of("bfloat16"))


def test_networks_that_are_timed_in_place_are_left_as_they_are(free):
    dense, pruned = decoder(0), decoder(1)
    before = [[p.data_ptr() for p in each.parameters()] for each in (dense, pruned)]
    free(working_bytes(dense, tokens(2), CPU))
    (row,) = latency(dense, pruned, tokens(), PROTOCOL, CPU, 0)
    assert "no-copies" in row.flags and "in-turns" not in row.flags and row.speedup > 0
    assert [[p.data_ptr() for p in each.parameters()] for each in (dense, pruned)] == before


def test_in_turns_one_network_is_on_the_device_at_a_time(monkeypatch):
    asked = replace(sides_of(), hold="turns")
    here, called = {id(asked.dense), id(asked.pruned)}, []

    def moved(network: nn.Module, device: object) -> None:
        here.discard(id(network)) if device is in_turns.HOST else here.add(id(network))

    for network in (asked.dense, asked.pruned):
        network.register_forward_pre_hook(lambda module, args: called.append(here == {id(module)}))
    monkeypatch.setattr(in_turns, "move", moved)
    monkeypatch.setattr(in_turns, "HOST", object())
    monkeypatch.setattr("prunebench.measure.latency.latency.held", lambda one: one)
    row = measured(asked)
    assert {"no-copies", "in-turns"} <= set(row.flags) and FLAGS["turns"] == ("no-copies", "in-turns")
    assert len(called) > 6 and all(called)
    assert here == {id(asked.dense), id(asked.pruned)}, "both are back at the end"


def test_a_network_moved_in_inference_mode_can_be_trained_afterwards():
    network = nn.Linear(3, 2)
    with torch.inference_mode():
        Stage(CPU, (network, nn.Linear(2, 2))).bring(network)
    network.to(torch.float64)(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    assert network.weight.grad is not None


def test_a_control_groups_limit_is_looked_at(tmp_path: Path):
    assert memory_need._left_in_group(tmp_path) == 1 << 62
    for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 600\ninactive_file 50\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory_need._left_in_group(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_need._left_in_group(tmp_path) == 1 << 62
