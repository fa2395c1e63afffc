"""Images corrupted batch by batch. Pixels lie between the least and the largest value of their channel in the test."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from prunebench import NotApplicable, Split, samples
from torch import Tensor, nn

from prunebench_metrics.logits_math import answers

SEEN = 256  # images that say between which values pixels lie
NOISE, LEFT, QUALITY = 0.08, 0.3, 15  # deviation of the noise; contrast that is left; JPEG's quality
BLUR = 1 / 32  # deviation of the blur, of the image's height


@dataclass
class Corruption:
    """One kind, applied to batches (B, C, H, W) in order."""

    kind: str
    pixels: samples.PixelRange
    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, its pixels in the range that they had."""
        changed: Callable[[Tensor], Tensor] = getattr(self, f"_{self.kind}")
        return self.pixels.scaled(lambda y: changed(y).clamp(0, 1), x)

    def _noise(self, x: Tensor) -> Tensor:
        return x + NOISE * torch.randn(x.shape, generator=self.generator).to(x)

    def _blur(self, x: Tensor) -> Tensor:
        """Gaussian, edges mirrored; at least half a pixel."""
        deviation = max(0.5, BLUR * x.shape[2])
        reach = min(math.ceil(3 * deviation), min(x.shape[2:]) - 1)
        place = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        weights = (-(place**2) / (2 * deviation**2)).exp()
        weights = (weights / weights.sum()).expand(x.shape[1], 1, -1)
        wide = nn.functional.pad(x, (reach,) * 4, mode="reflect")
        down = nn.functional.conv2d(wide, weights[..., :, None], groups=x.shape[1])
        return nn.functional.conv2d(down, weights[..., None, :], groups=x.shape[1])

    def _contrast(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + LEFT * (x - mean)

    def _jpeg(self, x: Tensor) -> Tensor:
        """Through the bytes of a JPEG file."""
        pixels = (x.cpu().permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        return torch.stack([_through_jpeg(image) for image in pixels]).to(x) / 255


def _through_jpeg(pixels: np.ndarray) -> Tensor:
    """(H, W, C) bytes, written and read back, as (C, H, W)."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=QUALITY)
    with Image.open(file) as image:
        read = np.asarray(image)
    return torch.from_numpy(read.copy().reshape(pixels.shape)).permute(2, 0, 1)


def accuracies(
    networks: Sequence[nn.Module], test: Split, device: torch.device, seed: int, asked: Sequence[str]
) -> dict[str, float]:
    """Top-1 accuracy by kind of the first network, and as `dense_` of the second; kinds that cannot be are left out."""
    images = test.head(SEEN)[0]
    if not samples.are_images(images):
        raise NotApplicable("it corrupts images (B, C, H, W)")
    pixels = samples.PixelRange.of(images)
    found: dict[str, float] = {}
    kinds = [kind for kind in asked if kind != "jpeg" or images.shape[1] in (1, 3)]
    for kind in kinds:
        logits, labels = answers(networks, test, device, Corruption(kind, pixels, seed))
        for prefix, each in zip(("", "dense_"), logits, strict=True):
            found[f"{prefix}{kind}"] = float((each.argmax(1) == labels).double().mean())
    for prefix in ("", "dense_"):
        found[f"{prefix}mean"] = sum(found[f"{prefix}{kind}"] for kind in kinds) / len(kinds)
    return found
