"""`bench check` of a model finds, before anyone publishes it, what would fail in a run."""

from __future__ import annotations

import any_networks
import pytest
import torch
from any_networks import CLASSES, NETWORKS, model
from prunebench.testing import check_model
from torch import nn

FINE = sorted(NETWORKS.keys() - {"scripted", "tuple", "dictionary"})


class InPlace(any_networks.Tuple):
    """Changes what the backward pass needs."""

    def forward(self, x):
        hidden = torch.sigmoid(self.first(x.flatten(1)))
        hidden.mul_(2)
        return self.out(hidden)


class Unkept(any_networks.Versioned):
    """Its extra state is no plain data."""

    def get_extra_state(self):
        return object()


class Forgetful(any_networks.Tuple):
    """Computes with a tensor that no state_dict has."""

    def __init__(self):
        super().__init__()
        self.scale = torch.rand(12)

    def forward(self, x):
        return self.out(self.first(x.flatten(1)) * self.scale)


def impossible():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(12), nn.Linear(16, CLASSES))


FAULTY = [
    (NETWORKS["scripted"], "build", "TorchScript network, which cannot be pruned"),
    (lambda: [nn.Linear(16, CLASSES)], "build", "build() must return an nn.Module, got list"),
    (impossible, "build", "its lazy layers cannot be initialised by float32 (2, 1, 4, 4)"),
    (NETWORKS["dictionary"], "forward", "returns dict"),
    (NETWORKS["tuple"], "training", "returns tuple in training mode"),
    (InPlace, "training", "cannot be trained"),
    (Unkept, "saved", "get_extra_state() must return tensors, numbers, text"),
    (Forgetful, "saved", "gives other outputs after saving and reloading"),
]


@pytest.mark.parametrize("name", FINE)
def test_a_network_that_runs_has_no_finding(name):
    assert check_model(model(name), outputs=CLASSES) == []


@pytest.mark.parametrize(("make", "check", "seen"), FAULTY)
def test_a_network_that_would_fail_is_found(make, check, seen, monkeypatch):
    monkeypatch.setitem(NETWORKS, "faulty", make)
    (finding,) = check_model(model("faulty"), outputs=CLASSES)
    assert finding.check == check and seen in finding.seen and finding.mend
