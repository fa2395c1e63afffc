"""Batches of images changed as `Augmentation` says, on the device, without a loop over images.

What is drawn comes from NumPy's generator on the CPU, so that every device gets the same; what is new in a picture is
zero, which is the mean of the data where they are normalised. Letters: B images, C channels, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prunebench import samples
from prunebench.errors import NotApplicable
from prunebench.recipe import Augmentation
from prunebench.splits import Split

RATIOS = (3 / 4, 4 / 3)  # width over height of a cut, as Szegedy et al. (2015)
ERASED = (0.02, 1 / 3)  # share of the area, and
ERASED_RATIOS = (0.3, 3.3)  # of width over height, as Zhong et al. (2020)
SEEN = 256  # training images that say between which values pixels lie


class Mix(NamedTuple):
    """Image i is `share` of itself and the rest of image `order[i]`, and so is its loss."""

    share: float
    order: Tensor  # (B,)


@dataclass
class Augmenter:
    """Changes one batch after the other."""

    wish: Augmentation
    draws: np.random.Generator
    pixels: samples.PixelRange

    @classmethod
    def of(cls, wish: Augmentation, train: Split, generator: torch.Generator) -> Augmenter | None:
        """For these training images, None where nothing is to be done; raises `NotApplicable` for what is no image."""
        if wish.is_none:
            return None
        images = train.head(SEEN)[0]
        if not samples.are_images(images):
            raise NotApplicable(f"augmentation is for images (B, C, H, W), the inputs are {samples.shapes(images)}")
        if wish.rand_augment and images.shape[1] not in (1, 3):
            raise NotApplicable(f"rand_augment is for images of 1 or 3 channels, these have {images.shape[1]}")
        seed = int(torch.randint(2**62, (1,), generator=generator))
        return cls(wish, np.random.default_rng(seed), samples.PixelRange.of(images))

    def __call__(self, x: Tensor) -> tuple[Tensor, Mix | None]:
        """Other images of the same shape, and how they are mixed where they are."""
        wish = self.wish
        if wish.resized_crop < 1:
            x = self._resized(x)
        if wish.crop:
            x = self._cropped(x)
        if wish.flip:
            x = torch.where(self._given(self.draws.random(len(x)) < 0.5, x), x.flip(-1), x)
        if wish.rand_augment:
            x = self._rand_augmented(x)
        if wish.erase:
            x = self._erased(x)
        return self._mixed(x) if wish.mixup or wish.cutmix else (x, None)

    @staticmethod
    def _given(values: np.ndarray, like: Tensor) -> Tensor:
        """(B, 1, 1, 1) on the device."""
        return torch.from_numpy(values).to(like.device)[:, None, None, None]

    def _cropped(self, x: Tensor) -> Tensor:
        """A window of the image's size out of the image with zeros around."""
        pad = self.wish.crop
        windows = functional.pad(x, (pad,) * 4).unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
        down, right = torch.from_numpy(self.draws.integers(0, 2 * pad + 1, (2, len(x)))).to(x.device)
        found: Tensor = windows[torch.arange(len(x), device=x.device), :, down, right]
        return found

    def _resized(self, x: Tensor) -> Tensor:
        """A part of the area, resized bilinearly; sizes that do not fit are as large as they can be."""
        height, width = self._sides(len(x), (self.wish.resized_crop, 1.0), RATIOS)
        top, left = (self.draws.random((2, len(x))) * 2 - 1) * (1 - np.stack((height, width)))
        theta = np.zeros((len(x), 2, 3), dtype=np.float32)
        theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = width, left, height, top
        grid = functional.affine_grid(torch.from_numpy(theta).to(x), list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def _sides(
        self, count: int, areas: tuple[float, float], ratios: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Heights and widths (count,) as shares of the image's, at most 1."""
        area = self.draws.uniform(*areas, count)
        ratio = np.exp(self.draws.uniform(np.log(ratios[0]), np.log(ratios[1]), count))
        return np.minimum(1, np.sqrt(area / ratio)), np.minimum(1, np.sqrt(area * ratio))

    def _rand_augmented(self, x: Tensor) -> Tensor:
        from prunebench.trial.rand_augment import rand_augmented

        wish = self.wish
        return self.pixels.scaled(lambda y: rand_augmented(y, wish.rand_augment, wish.magnitude, self.draws), x)

    def _erased(self, x: Tensor) -> Tensor:
        """Zeros in a rectangle of some of the images."""
        chosen = self.draws.random(len(x)) < self.wish.erase
        return x.masked_fill(self._boxes(x, *self._sides(len(x), ERASED, ERASED_RATIOS)) & self._given(chosen, x), 0)

    def _boxes(self, x: Tensor, height: np.ndarray, width: np.ndarray) -> Tensor:
        """(B, 1, H, W): True inside a rectangle of these sides, shares of the image's, that lies inside of it."""
        inside = []
        for share, size in ((height, x.shape[2]), (width, x.shape[3])):
            length = np.round(share * size)
            first = np.floor(self.draws.random(len(share)) * (size - length + 1))
            place = np.arange(size)
            inside.append((place >= first[:, None]) & (place < (first + length)[:, None]))
        return torch.from_numpy(inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(x.device)

    def _mixed(self, x: Tensor) -> tuple[Tensor, Mix]:
        """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019), one of them and one share a batch."""
        wish = self.wish
        cuts = wish.cutmix > 0 and (not wish.mixup or self.draws.random() < 0.5)
        alpha = wish.cutmix if cuts else wish.mixup
        share = float(self.draws.beta(alpha, alpha))
        order = torch.from_numpy(self.draws.permutation(len(x))).to(x.device)
        if not cuts:
            return torch.lerp(x[order], x, share), Mix(share, order)
        side = np.full(1, np.sqrt(1 - share))
        box = self._boxes(x, side, side)
        return torch.where(box, x[order], x), Mix(1 - float(box.double().mean()), order)
