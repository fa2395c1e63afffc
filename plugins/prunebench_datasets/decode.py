"""From encoded images to bytes of one shape, with the name of the file that cannot be read."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from prunebench import DataError
from torch import Tensor


def decoded(data: bytes, name: str, size: tuple[int, int], channels: int = 3) -> Tensor:
    """An encoded image as (C, H, W) uint8: RGB or grey, on white where it is transparent, resized bilinearly.

    `size` is (H, W). Raises DataError with `name` where the bytes are no image.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = _flat(opened, channels)
            if image.size != (size[1], size[0]):
                image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            array = np.array(image, dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is no image: replace or remove it") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is a damaged image ({str(error).splitlines()[0]}): replace or remove it") from error
    tensor = torch.from_numpy(array)
    return tensor[None] if channels == 1 else tensor.permute(2, 0, 1).contiguous()


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """Without transparency and palette, in as many channels as asked for, 8 bits each."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # `convert` would clip at 255
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits without a known range")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(white, with_alpha)
    return image.convert("L" if channels == 1 else "RGB")
