"""Gram matrices of layer inputs: the numbers, what is shared, what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from fake_task import FakeTask, fake_task, small_cnn, small_fcn
from prunebench import Method, NotApplicable
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.shared.feedback import inverse_root
from prunebench_methods.shared.grams import Gram, grams_of, input_grams
from torch import Tensor, nn
from torch.nn import functional


class Branches(nn.Module):
    """Three linear layers read one tensor; a fourth reads it after it was changed in place."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.q, self.k, self.late = nn.Linear(64, 6), nn.Linear(64, 6), nn.Linear(64, 6)
        self.own, self.head, self.change = nn.Linear(64, 6), nn.Linear(24, 10), change

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1).clone()
        first = (self.q(x), self.k(x), self.own(x + 1))
        return self.head(torch.cat((*first, self.late(self.change(x))), 1))


def linear_task(**options: object) -> FakeTask:
    return fake_task(small_fcn(), (1, 8, 8), count=200, **options)


def test_grams_of_linear_layers_are_the_sums_over_all_calibration_rows() -> None:
    task = linear_task()
    inputs = task.calibration.flatten(1).double()
    found = input_grams(task.network, task)["1"]
    assert found.count == 200 and found.products is not None
    torch.testing.assert_close(found.second(0), inputs.T @ inputs / 200, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.second(0, centred=True), torch.cov(inputs.T, correction=0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.mean[0], inputs.mean(0))
    torch.testing.assert_close(found.diagonal()[0], inputs.square().mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_rows_are_held_while_they_are_fewer_than_the_inputs(centred: bool) -> None:
    task = linear_task(calibration_count=20)
    inputs = task.calibration.flatten(1).double()
    found = input_grams(task.network, task)["1"]
    factor = found.factor(0, centred=centred)
    assert found.products is None and factor is not None and factor.shape == (20, 64)
    expected = torch.cov(inputs.T, correction=0) if centred else inputs.T @ inputs / 20
    torch.testing.assert_close(factor.T @ factor, expected)
    torch.testing.assert_close(found.second(0, centred=centred), expected)
    torch.testing.assert_close(found.diagonal()[0], inputs.square().mean(0))


def test_grams_of_grouped_strided_convolutions_reproduce_their_outputs() -> None:
    conv = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, dilation=2, groups=2, padding_mode="reflect", bias=False)
    network = nn.Sequential(conv, nn.Flatten(), nn.Linear(6 * 5 * 6, 3))
    task = fake_task(network, (4, 12, 12), count=24, classes=3)
    gram = input_grams(task.network, task)["0"]
    weight = conv.weight.detach().double().reshape(2, 3, -1)
    with torch.no_grad():
        outputs = conv(task.calibration).double()
    energy = outputs.square().sum((0, 2, 3)) / (24 * outputs[0, 0].numel())
    found = torch.cat([(w @ gram.second(group) * w).sum(1) for group, w in enumerate(weight)])
    torch.testing.assert_close(found, energy, rtol=1e-5, atol=1e-7)


def test_layers_that_read_one_tensor_share_a_gram_and_others_do_not() -> None:
    task = fake_task(Branches(lambda x: x.mul_(2)), (1, 8, 8), count=100)
    found = input_grams(task.network, task)
    assert found["q"] is found["k"]
    assert found["own"] is not found["q"] and found["late"] is not found["q"]
    torch.testing.assert_close(found["late"].second(0), 4 * found["q"].second(0))


def test_layers_that_share_only_some_inputs_have_their_own_grams() -> None:
    calls: list[int] = []

    def sometimes(x: Tensor) -> Tensor:
        calls.append(1)
        return x if len(calls) % 2 else x + 1

    task = fake_task(Branches(lambda x: x), (1, 8, 8), count=256)
    task.network.change = sometimes
    found = input_grams(task.network, task)
    assert found["late"] is not found["q"] and found["k"] is not found["q"]
    assert not torch.allclose(found["late"].mean, found["q"].mean)


def test_one_pass_serves_every_method_and_setting() -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=32)
    calls: list[int] = []
    task.network.register_forward_pre_hook(lambda module, inputs: calls.append(1))
    first = input_grams(task.network, task)
    passed = len(calls)
    assert set(first) == {"0", "3", "6", "8"} and passed == 1
    for section in ("all", "fc", "conv"):
        again = input_grams(task.network, task, section)
        assert all(first[name] is gram for name, gram in again.items())
    assert len(calls) == passed


def test_a_second_pass_is_made_for_what_is_new_alone() -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=32)
    few = input_grams(task.network, task, "fc")
    every = input_grams(task.network, task)
    assert all(every[name] is gram for name, gram in few.items()) and set(every) - set(few) == {"0", "3"}


def test_a_pass_ends_before_the_module_that_is_named() -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=32)
    calls: list[int] = []
    task.network[8].register_forward_hook(lambda module, inputs, output: calls.append(1))
    found = grams_of(task.network, task, ["0", "6"], until="8")
    assert not calls
    other = fake_task(small_cnn(), (3, 12, 12), count=32)
    torch.testing.assert_close(found["6"].second(0), input_grams(other.network, other)["6"].second(0))
    with pytest.raises(NotApplicable, match="never reach '8'"):
        grams_of(task.network, task, ["8"], until="6")


def test_grams_keep_small_directions_that_float32_sums_lose() -> None:
    rows = torch.randn(40000, 3, generator=torch.Generator().manual_seed(0))
    rows[:, 2] = rows[:, 0] + 1e-3 * rows[:, 2]
    gram = Gram()
    gram.add(rows[:, None])
    exact = rows.double().T @ rows.double() / len(rows)
    assert float((gram.second(0) - exact).norm() / exact.norm()) < 1e-6


def test_half_precision_inputs_are_summed_in_float32_or_better() -> None:
    rows = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    gram = Gram()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram.add(rows[:, None])
    exact = rows.double().T @ rows.double() / len(rows)
    torch.testing.assert_close(gram.second(0), exact, rtol=1e-5, atol=1e-6)


def test_no_calibration_data_and_inputs_that_are_not_finite_are_declined() -> None:
    task = linear_task()
    task.calibration = task.calibration[:0]
    with pytest.raises(NotApplicable, match="calibration samples, and the protocol gives none"):
        input_grams(task.network, task)
    task = linear_task()
    task.calibration = functional.pad(task.calibration[..., :7], (0, 1), value=float("nan"))
    with pytest.raises(NotApplicable, match="inputs of '1' over the calibration samples are not finite"):
        input_grams(task.network, task)


@pytest.mark.parametrize(
    ("module", "method"),
    [("masks.sparsegpt_math", SparseGPT(keep=0.5, pattern="row")), ("quantization.gptq_math", GPTQ(bits=4))],
    ids=["sparsegpt", "gptq"],
)
def test_layers_that_read_one_input_share_its_root(
    module: str, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Branches(lambda x: x.mul_(2))
    task = fake_task(network, (1, 8, 8), count=200)
    grams = input_grams(network, task)
    assert grams["q"] is grams["k"] is not grams["late"]
    asked: list[Tensor] = []

    def counted(moment: Tensor, damp: float) -> Tensor:
        asked.append(moment)
        return inverse_root(moment, damp)

    monkeypatch.setattr(f"prunebench_methods.{module}.inverse_root", counted)
    pruned = method.prune(copy.deepcopy(network), task)
    assert len(asked) == 4  # of q and k, of what is added to, of what is changed, of the head
    assert all(not gram.found for gram in grams.values())
    shapes, dense = task.shapes, task.network
    for shape in shapes:
        task.shapes = [shape]
        alone = method.prune(copy.deepcopy(dense), task)
        assert torch.equal(alone.get_submodule(shape.name).weight, pruned.get_submodule(shape.name).weight)
