"""Crops of photographs that packages ship, labelled by the dense EfficientNet-Lite0."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from prunebench import DataError, Splits, TensorSplit
from torch import Tensor, nn
from torch.nn import functional

from prunebench_models.outside_networks import efficientnet_lite0

PHOTOGRAPHS = {  # split: (package, file); the licences are those of the packages' own lists
    "train": (("skimage", "astronaut.png"), ("skimage", "rocket.jpg"), ("sklearn", "china.jpg")),
    "validation": (("sklearn", "flower.jpg"),),
    "test": (("skimage", "chelsea.png"), ("skimage", "coffee.png"), ("skimage", "motorcycle_left.png")),
}
SIDE = 224  # what the network that labels them sees
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


def read(input_shape: tuple[int, ...] | None, crops: int, drawing: int) -> Splits:
    """Crops of 40 to 100 % of a photograph's shorter side, some mirrored, with the dense network's own answers."""
    if input_shape is None or len(input_shape) != 3:
        raise DataError(
            f"photographs need a model whose input_shape is (C, H, W), got {input_shape}: choose another model"
        )
    generator = torch.Generator().manual_seed(drawing)
    images = {
        split: torch.cat([_crops(_photograph(*source), crops, SIDE, generator) for source in sources])
        for split, sources in PHOTOGRAPHS.items()
    }
    images["train"] = images["train"][torch.randperm(len(images["train"]), generator=generator)]
    network = efficientnet_lite0(1000, is_trained=True).eval()
    splits = [TensorSplit(_resized(held, input_shape), _answers(network, held)) for held in images.values()]
    digest = hashlib.sha256()
    for part in splits:
        digest.update(part.images.numpy().data)
        digest.update(part.labels.numpy().data)
    return Splits(splits[0], splits[1], splits[2], 1000, digest.hexdigest())


def _photograph(package: str, name: str) -> Image.Image:
    found = importlib.util.find_spec(package)
    folders = list(found.submodule_search_locations or []) if found else []
    file = Path(folders[0], FOLDERS[package], name) if folders else None
    if file is None or not file.is_file():
        distribution = DISTRIBUTIONS[package]
        raise DataError(f"photograph_crops needs {name} of {distribution}: pip install {distribution}")
    with Image.open(file) as opened:
        return opened.convert("RGB")


def _crops(photograph: Image.Image, count: int, side: int, generator: torch.Generator) -> Tensor:
    """`count` square crops as (count, 3, side, side) float32 in [-1, 1]."""
    width, height = photograph.size
    crops = torch.empty(count, 3, side, side)
    for row in range(count):
        share, left, top, mirror = torch.rand(4, generator=generator).tolist()
        edge = round(min(width, height) * (0.4 + 0.6 * share))
        x, y = round(left * (width - edge)), round(top * (height - edge))
        crop = photograph.crop((x, y, x + edge, y + edge)).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1) / 127.5 - 1
        crops[row] = pixels.flip(-1) if mirror < 0.5 else pixels
    return crops


def _resized(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """As another network wants them: (N, C, H, W), grey by luminance."""
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"photographs fit models with 1 or 3 input channels, got {channels}: choose another model")
    x = images if channels == 3 else (images * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    if (height, width) == (SIDE, SIDE):
        return x
    return functional.interpolate(x, (height, width), mode="bilinear", antialias=True)


def _answers(network: nn.Module, images: Tensor) -> Tensor:
    """What the dense network says of each image: (N,) int64."""
    with torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in images.split(32)])
