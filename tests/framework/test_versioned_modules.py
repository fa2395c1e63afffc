"""Networks whose modules tell formats of their weights apart by a version, which files of tensors do not carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prunebench
import pytest
import torch
from prunebench.testing.methods import Attempt, _saved
from prunebench.trial.retraining import _load_under_zeros
from prunebench_models.imported_weights import built
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import MNASNet


def network() -> nn.Module:
    """Refuses weights of no version, and takes those of its first one for others."""
    torch.manual_seed(0)
    return MNASNet(0.1, num_classes=5).eval()


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_of_a_file_fit_the_code_where_they_name_no_version(suffix: str, tmp_path: Path) -> None:
    file, wanted = tmp_path / f"own.{suffix}", network()
    (save_file if suffix == "safetensors" else torch.save)(wanted.state_dict(), file)
    found = built("torchvision.models:MNASNet", {"alpha": 0.1, "num_classes": 5}, 5, str(file)).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(found(x), wanted(x))
    if suffix == "safetensors":
        with pytest.raises(ValueError, match="version"):
            network().load_state_dict(load_file(file))


def test_weights_keep_the_version_that_they_name() -> None:
    held, given = Versioned(3, 2), Versioned(3, 2)
    for version in (1, 2):
        state = given.state_dict()
        state._metadata[""]["version"] = version  # type: ignore[attr-defined]
        prunebench.load_weights(held, state)
        assert held.seen == version
    prunebench.load_weights(held, dict(given.state_dict()))
    assert held.seen == 2
    with pytest.raises(RuntimeError, match="Missing key"):
        prunebench.load_weights(held, {})
    prunebench.load_weights(held, {}, strict=False)


def test_earlier_weights_and_the_kit_load_such_a_network() -> None:
    held = network()
    with torch.no_grad():
        held.classifier[1].weight.zero_()
    _load_under_zeros(held, dict(network().state_dict()))
    wanted = network().state_dict()
    wanted["classifier.1.weight"].zero_()
    assert all(torch.equal(held.state_dict()[name], value) for name, value in wanted.items())
    attempt = Attempt("one", small(), small())
    assert list(_saved(attempt)) == []


def small() -> nn.Module:
    """The kit's inputs, into a module of that kind."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), Versioned(192, 5)).eval()


class Versioned(nn.Linear):
    """Refuses weights of no version."""

    _version = 2
    seen = 0

    def _load_from_state_dict(self, state: Any, prefix: str, versions: Any, *others: Any) -> None:
        if versions.get("version") is None:
            raise ValueError("version should be set")
        self.seen = versions["version"]
        super()._load_from_state_dict(state, prefix, versions, *others)
