"""The kit that judges every plugin, on the methods of masks and bits."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from fake_task import fake_task, pruned, small_cnn
from prunebench import Method
from prunebench.testing import check_method
from prunebench_methods import masks, quantization, tickets
from torch import nn

METHODS = [*masks.METHODS, *tickets.METHODS, *quantization.METHODS]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_kit_finds_nothing(method: type[Method]) -> None:
    assert check_method(method, speed=False) == []


@pytest.mark.parametrize("method", [m for m in METHODS if "scope" in m.__dataclass_fields__], ids=lambda m: m.name)
def test_the_kit_finds_nothing_in_global_shares(method: type[Method]) -> None:
    assert check_method(method, {**method.example, "scope": "global"}, speed=False) == []


def test_the_classes_load_without_torch() -> None:
    code = (
        "import sys, prunebench_methods as m; m.methods(); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_layout_of_weights_in_memory_does_not_matter(method: type[Method]) -> None:
    plain, strided = small_cnn(), small_cnn().to(memory_format=torch.channels_last)
    strided[6].weight = nn.Parameter(strided[6].weight.detach().T.contiguous().T)
    methods = {cls.name: cls for cls in METHODS}
    one, other = (fake_task(network, (3, 12, 12), count=64, methods=methods) for network in (plain, strided))
    one.fit = other.fit = lambda network, **recipe: ()  # type: ignore[method-assign]
    made = method(**method.example)
    expected, found = pruned(made, one), pruned(made, other)
    torch.testing.assert_close(found(one.calibration), expected(one.calibration))
    formats, others = made.storage(expected), made.storage(found)
    assert formats == others and formats["dense"] > 0
