"""The bundled architectures have the published sizes, shapes and names."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from urllib.error import URLError

import prunebench_models
import pytest
import torch
from prunebench import DataError, Model
from prunebench_models.convolutional import LeNet5, SmallCnn, SmallResNet
from prunebench_models.fully_connected import LargeFcn, LargeLinearFcn, SimpleFcn, SimpleLinearFcn
from prunebench_models.vision import AlexNet, DenseNet121, ResNet50, Torchvision
from torch import nn


def parameter_count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("model", "class_count", "expected"),
    [
        (SimpleFcn(), 10, 105_214),
        (SimpleLinearFcn(), 10, 105_214),
        (LargeFcn(), 10, 35_897_866),
        (LargeLinearFcn(), 10, 35_897_866),
        (LeNet5(), 26, 82_554),
        (AlexNet(), 1000, 61_100_840),
        (ResNet50(), 1000, 25_557_032),
        (DenseNet121(), 1000, 7_978_856),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_parameter_counts_are_the_published_ones(model: Model, class_count: int, expected: int) -> None:
    with torch.device("meta"):
        network = model.build(class_count)
    assert parameter_count(network) == expected


@pytest.mark.parametrize(
    "model", [SimpleFcn(), SimpleLinearFcn(), LeNet5(), SmallCnn(), SmallCnn(batch_norm=True), SmallResNet()]
)
@pytest.mark.parametrize("class_count", [2, 26])
def test_the_last_layer_is_as_wide_as_there_are_classes(model: Model, class_count: int) -> None:
    network = model.build(class_count).eval()
    assert network(torch.zeros(3, *model.input_shape)).shape == (3, class_count)


@pytest.mark.parametrize("blocks", [1, 3])
def test_residual_networks_have_six_layers_a_block_of_each_stage_and_two(blocks: int) -> None:
    with torch.device("meta"):
        network = SmallResNet(width=16, blocks=blocks).build(10)
    kinds = {name: module for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    assert len([name for name in kinds if "shortcut" not in name]) == 6 * blocks + 2
    assert [name for name in kinds if "shortcut" in name] == [
        "stage2_block1.shortcut.conv",
        "stage3_block1.shortcut.conv",
    ]
    shapes = network.to_empty(device="cpu")(torch.zeros(2, 1, 28, 28)).shape
    assert shapes == (2, 10)


def test_a_residual_block_adds_what_came_in() -> None:
    torch.manual_seed(0)
    block = SmallResNet(width=8).build(10).stage1_block1.eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 8, 6, 6)
    assert torch.equal(block(x), x)


def test_a_twin_without_activations_is_one_affine_map() -> None:
    torch.manual_seed(0)
    network = SimpleLinearFcn().build(10)
    x, y = torch.randn(2, 4, 1, 28, 28)
    torch.testing.assert_close(network(x) + network(y), network(x + y) + network(torch.zeros_like(x)))


def test_the_relu_network_is_no_affine_map() -> None:
    torch.manual_seed(0)
    network = SimpleFcn().build(10)
    x, y = torch.randn(2, 4, 1, 28, 28)
    assert (network(x) + network(y) - network(x + y) - network(torch.zeros_like(x))).abs().max() > 0.01


def test_twins_have_no_activation_and_others_one_per_hidden_layer() -> None:
    with torch.device("meta"):
        kinds = {model: [type(m) for m in model.build(10)] for model in (LargeFcn(), LargeLinearFcn())}
    assert kinds[LargeLinearFcn()] == [nn.Flatten, *[nn.Linear] * 8]
    assert kinds[LargeFcn()] == [nn.Flatten, *[nn.Linear, nn.ReLU] * 7, nn.Linear]


def test_lenet_layers_have_the_names_and_shapes_of_the_tables() -> None:
    weights = {name: tuple(p.shape) for name, p in LeNet5().build(26).named_parameters() if name.endswith("weight")}
    assert weights == {
        "conv1.weight": (6, 1, 3, 3),
        "conv2.weight": (16, 6, 3, 3),
        "fc1.weight": (120, 576),
        "fc2.weight": (84, 120),
        "fc3.weight": (26, 84),
    }


@pytest.mark.parametrize("model", [SimpleFcn(), LeNet5(), SmallCnn(batch_norm=True)])
def test_equal_seeds_build_equal_weights(model: Model) -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(model.build(10).state_dict())
    torch.testing.assert_close(networks[0], networks[1], rtol=0, atol=0)


def test_the_input_size_of_a_vision_model_follows_its_field() -> None:
    assert AlexNet.input_shape == (3, 224, 224)
    assert AlexNet(image_size=227).input_shape == (3, 227, 227)


@pytest.mark.parametrize(("weights", "pretrained"), [("", False), ("untrained", True), ("IMAGENET1K_V1", True)])
def test_only_fresh_weights_are_trained_here(weights: str, pretrained: bool) -> None:
    assert AlexNet(weights=weights).pretrained is pretrained


def test_untrained_weights_are_fresh_ones_and_take_any_number_of_classes() -> None:
    with torch.device("meta"):
        assert AlexNet(weights="untrained").build(7).classifier[-1].out_features == 7


@pytest.mark.parametrize("arch", ["mobilenet_v2", "googlenet", "inception_v3"])
def test_any_classifier_of_torchvision_gives_logits_even_in_training(arch: str) -> None:
    model = Torchvision(arch=arch)
    model.check()
    with torch.device("meta"):
        network = model.build(5).train()
        assert network(torch.zeros(2, 3, 96, 96)).shape == (2, 5)


def test_an_unknown_architecture_is_refused_with_the_close_names() -> None:
    with pytest.raises(ValueError, match=r"no classifier 'resnet51'; close: .*resnet50"):
        Torchvision(arch="resnet51").check()


def test_unknown_weights_are_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"alexnet has no weights 'IMAGENET'.*'untrained', 'IMAGENET1K_V1'$"):
        AlexNet(weights="IMAGENET").check()


def test_trained_weights_that_know_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"has 1,000 classes, the data set has 26: use .*imagenet"):
        AlexNet(weights="IMAGENET1K_V1").build(26)


def test_weights_without_a_network_are_asked_for_by_file(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(DataError, match=r"no route to host.*put https://.*alexnet-owt-.*pth at .*checkpoints/alexnet"):
        AlexNet(weights="IMAGENET1K_V1").build(1000)


def publish(chosen, content, place, monkeypatch) -> None:
    """Lay `content` where torch looks for `chosen`, as if torchvision had published it: with its hash in the name."""
    torch.save(content, place / "file")
    digest = hashlib.sha256((place / "file").read_bytes()).hexdigest()
    monkeypatch.setattr(chosen.value, "url", f"https://example.org/weights-{digest[:8]}.pth")
    (place / "file").rename(place / f"weights-{digest[:8]}.pth")


class Harmful:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("has_its_hash", [True, False])
def test_weights_that_carry_code_run_none(monkeypatch: pytest.MonkeyPatch, tmp_path, has_its_hash: bool) -> None:
    from torchvision import models

    chosen = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    place = tmp_path / "hub" / "checkpoints"
    place.mkdir(parents=True)
    if has_its_hash:
        publish(chosen, {"weight": Harmful()}, place, monkeypatch)
    else:
        torch.save({"weight": Harmful()}, place / chosen.url.rsplit("/", 1)[-1])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said = "is damaged .*Weights only load failed" if has_its_hash else r"was changed \(its SHA-256 begins with"
    with pytest.raises(DataError, match=rf"{said}.*: delete it"):
        Torchvision(arch="squeezenet1_1", weights="IMAGENET1K_V1").build(1000)
    assert not (tmp_path / "harmed").exists()


def test_weights_laid_by_hand_are_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from torchvision import models

    chosen = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    torch.manual_seed(1)
    laid = models.squeezenet1_1(weights=None).state_dict()
    place = tmp_path / "hub" / "checkpoints"
    place.mkdir(parents=True)
    publish(chosen, laid, place, monkeypatch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = Torchvision(arch="squeezenet1_1", weights="IMAGENET1K_V1").build(1000)
    torch.testing.assert_close(network.state_dict(), laid, rtol=0, atol=0)


def test_damaged_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from torchvision import models

    place = tmp_path / "hub" / "checkpoints"
    place.mkdir(parents=True)
    (place / models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]).write_bytes(b"PK not a checkpoint")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"squeezenet1_1.*is damaged or was changed .*: delete it"):
        Torchvision(arch="squeezenet1_1", weights="IMAGENET1K_V1").build(1000)


def test_names_are_unique_and_every_class_says_what_it_is() -> None:
    models = prunebench_models.models()
    assert len({model.name for model in models}) == len(models) >= 11
    assert all(model.__doc__ and issubclass(model, Model) for model in models)


def test_listing_models_and_data_sets_imports_no_torch() -> None:
    code = (
        "import sys, pathlib, prunebench_models as m, prunebench_datasets as d; m.models()\n"
        "[D().available(pathlib.Path('nowhere')) for D in d.datasets() if D.name != 'import']\n"
        "sys.exit(bool({'torch', 'numpy', 'sklearn', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
