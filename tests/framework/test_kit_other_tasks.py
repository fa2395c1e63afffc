"""The kit on a table with a number to predict and on a text: it finds what only images let pass, and judges ours."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from prunebench import LayerCounts, Method, NotApplicable
from prunebench.errors import PlanError
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.testing.other_tasks import OTHERS, other_findings
from torch import nn

METHODS = sorted(find_installed().of_kind("method"))


def found(cls, **facts):
    return {(f.check, f.seen.rpartition("(")[2].rstrip(")")) for f in other_findings(cls, cls(**facts))}


@dataclass(frozen=True)
class Classes(Method):
    """Weighs by a cross-entropy of labels, which only classes have."""

    name = "classes"

    def prune(self, network, task):
        inputs, labels = task.train.head(8)
        nn.functional.cross_entropy(network(inputs), labels).backward()
        return network


@dataclass(frozen=True)
class Floats(Method):
    """Feeds whatever it is given as floats."""

    name = "floats"

    def prune(self, network, task):
        network(task.calibration.float())
        return network


@dataclass(frozen=True)
class Wider(Method):
    """Answers with one output more, counts what it does not do, and trains by nothing."""

    name = "wider"
    fault: str = "shape"

    def counts(self, shapes):
        return [LayerCounts(s.name, 1 if self.fault == "counts" else s.parameter_count, s.parameter_count, s.mac_count)
                for s in shapes]  # fmt: skip

    def prune(self, network, task):
        last = network[-1] if isinstance(network, nn.Sequential) else network.head
        if self.fault == "shape":
            last.weight = nn.Parameter(torch.cat([last.weight, last.weight[:1]]))
            last.bias = nn.Parameter(torch.cat([last.bias, last.bias[:1]]))
        if self.fault == "nan":
            last.bias.data[0] = torch.nan
        return network


@dataclass(frozen=True)
class Mute(Method):
    """Declines without a word."""

    name = "mute"

    def prune(self, network, task):
        raise NotApplicable("")


def test_a_method_that_takes_targets_for_labels_is_found():
    assert found(Classes) == {("raises", "tabular"), ("raises", "sequence")}
    said = type("Said", (Classes,), {"objectives": ("classification",), "__doc__": "Says so."})
    assert found(said) == set()


def test_a_method_that_takes_tokens_for_numbers_is_found():
    assert found(Floats) == {("raises", "sequence")}


@pytest.mark.parametrize(("fault", "check"), [("shape", "output"), ("nan", "output"), ("counts", "counts")])
def test_what_a_method_breaks_is_found_on_both(fault, check):
    assert found(Wider, fault=fault) == {(check, other.name) for other in OTHERS}
    assert found(Mute) == {("declines", other.name) for other in OTHERS}


@pytest.mark.parametrize("name", METHODS)
def test_the_kit_finds_nothing_in_a_method_of_ours(name):
    cls = find_installed().find("method", name).cls
    try:
        method = create(cls, complete(cls, dict(cls.example)))
    except PlanError as error:
        pytest.fail(str(error))
    assert list(other_findings(cls, method)) == []
