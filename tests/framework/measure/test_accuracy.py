"""Scores of toy networks whose answers are known."""

from __future__ import annotations

import pytest
import torch
from prunebench import TensorSplit
from prunebench.measure.latency.faults import ChangedWeights
from prunebench.measure.scores import InvalidOutput, evaluate
from prunebench.measure.statistics import unpack_bits
from prunebench.samples import Footprint
from torch import Tensor, nn
from toys import CLASSIFICATION


class Echo(nn.Module):
    """Returns its input (B, 1, 1, classes) as logits, and counts the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return x.flatten(1)


def split_of(logits: Tensor, labels: Tensor) -> TensorSplit:
    return TensorSplit(logits[:, None, None, :], labels)


def random_split(count: int, classes: int) -> TensorSplit:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=generator)
    return split_of(logits, torch.randint(classes, (count,), generator=generator))


def test_scores_are_those_of_all_samples_at_once() -> None:
    split = random_split(1000, 10)
    logits = split.images.flatten(1)
    found = evaluate(Echo(), split, CLASSIFICATION, "cpu")
    right = logits.argmax(1) == split.labels
    best = logits.topk(5, 1).indices == split.labels[:, None]
    assert found.test_count == 1000
    assert found.top1_accuracy == pytest.approx(right.float().mean().item())
    assert found.top5_accuracy == pytest.approx(best.any(1).float().mean().item())
    assert found.loss == pytest.approx(nn.functional.cross_entropy(logits, split.labels).item(), rel=1e-5)
    assert (unpack_bits(found.correct, 1000) == right.numpy()).all()


@pytest.mark.parametrize(("classes", "has_top5"), [(2, False), (5, False), (6, True)])
def test_top5_is_given_only_where_it_can_be_wrong(classes: int, has_top5: bool) -> None:
    assert (evaluate(Echo(), random_split(20, classes), CLASSIFICATION, "cpu").top5_accuracy is not None) == has_top5


def test_a_limit_scores_exactly_the_first_samples() -> None:
    split = random_split(1000, 10)
    network = Echo()
    found = evaluate(network, split, CLASSIFICATION, "cpu", limit=300)
    head = evaluate(Echo(), TensorSplit(*split.head(300)), CLASSIFICATION, "cpu")
    assert found == head
    assert sum(network.sizes[1:]) == 300  # the first call tells how large an output is


class Wide(Echo):
    """Answers `times` as many bytes: more zero logits behind."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return nn.functional.pad(logits, (0, (self.times - 1) * logits.shape[1]), value=-9.0)


@pytest.mark.parametrize("times", [1, 2])
def test_a_footprint_spares_a_call_and_changes_no_batch(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunebench.samples.HOST_OUTPUT_BYTES", 16 * 40)  # of ten logits
    split, plain, quick = random_split(40, 10), Wide(times), Wide(times)
    footprint = Footprint.of(Echo(), split.head(1)[0])
    wanted = evaluate(plain, split, CLASSIFICATION, "cpu")
    assert evaluate(quick, split, CLASSIFICATION, "cpu", footprint=footprint) == wanted
    own = [16, 16, 8] if times == 1 else [8] * 5
    assert plain.sizes == [1, *own]
    assert quick.sizes == (own if times == 1 else [16, 1, *own]), "of another network it is given up"


@pytest.mark.parametrize(("width", "held"), [(7, 16), (10, 17)])
def test_a_footprint_of_other_inputs_or_of_large_batches_is_not_taken(
    width: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunebench.samples.HOST_OUTPUT_BYTES", held * 4 * width)
    network = Echo()
    found = Footprint.of(network, torch.zeros(1, 1, 1, width))
    assert found.batch_size() == held
    evaluate(network, random_split(3, 10), CLASSIFICATION, "cpu", footprint=found)
    assert network.sizes == [1, 1, 3]


def test_it_breathes_between_batches() -> None:
    breaths: list[None] = []
    network = Echo()
    evaluate(network, random_split(1000, 10), CLASSIFICATION, "cpu", breathe=lambda: breaths.append(None))
    assert len(breaths) == len(network.sizes[1:]) > 1


def test_every_module_keeps_its_own_mode() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(10))
    network.train()
    network[1].eval()
    evaluate(network, random_split(20, 10), CLASSIFICATION, "cpu")
    assert [module.training for module in network.modules()] == [True, True, False, True]


def test_dropout_is_off() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    split = random_split(200, 10)
    assert evaluate(network, split, CLASSIFICATION, "cpu") == evaluate(Echo(), split, CLASSIFICATION, "cpu")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_with_the_sample(bad: float) -> None:
    split = random_split(600, 10)
    split.images[300, 0, 0, 3] = bad
    with pytest.raises(InvalidOutput, match="1 of 600 outputs hold NaN or infinity, first for test sample 300"):
        evaluate(Echo(), split, CLASSIFICATION, "cpu")


class Tuple(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Tuple(), "must return a tensor of logits, got tuple"),
        (nn.Identity(), r"must have shape \(20, classes\), got \(20, 1, 1, 10\)"),
        (nn.Sequential(nn.Flatten(0)), r"must have shape \(20, classes\), got \(200,\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(10, 3)), "has 3 outputs, but a label is [3-9]"),
    ],
)
def test_an_output_that_is_no_logits_is_refused(network: nn.Module, reason: str) -> None:
    with pytest.raises(InvalidOutput, match=reason):
        evaluate(network, random_split(20, 10), CLASSIFICATION, "cpu")


class Drifting(nn.Module):
    """Its forward pass changes a buffer, as a batch norm left in training mode would."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        self.mean += 0.1
        return x.flatten(1) + self.mean


def test_a_forward_pass_that_changes_the_network_is_refused_with_the_name() -> None:
    with pytest.raises(ChangedWeights, match="changed mean"):
        evaluate(Drifting(), random_split(20, 10), CLASSIFICATION, "cpu")


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(InvalidOutput, match="no test sample"):
        evaluate(Echo(), random_split(0, 10), CLASSIFICATION, "cpu")
