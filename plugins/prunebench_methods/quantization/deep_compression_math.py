"""The stages of deep compression, one after another on one network."""

from __future__ import annotations

from typing import NamedTuple

from prunebench import Task
from torch import nn

from prunebench_methods.quantization.sharing import fold, share
from prunebench_methods.shared.masking import apply, magnitude_masks
from prunebench_methods.shared.replace import Layer
from prunebench_methods.shared.storage import storage_formats


class Settings(NamedTuple):
    """What `compress` needs of its method; the words are those of `DeepCompression`."""

    keep: float
    conv_bits: int
    fc_bits: int
    scope: str


def compress(network: nn.Module, layers: dict[str, Layer], settings: Settings, task: Task) -> None:
    """Mask and fine-tune, share and fine-tune, in place; coding changes bytes and no value."""
    apply(layers, magnitude_masks(layers, settings.keep, settings.scope), task)
    task.fit(network)
    pruned = storage_formats(network)
    share(
        layers, {name: codebook_size(layer, settings) for name, layer in layers.items()}, "linear", task, is_dense=False
    )
    task.fit(network)
    fold(layers)
    task.note(stage_bytes(pruned, storage_formats(network)))


def codebook_size(layer: Layer, settings: Settings) -> int:
    """Values that the bits tell apart, one of which fillers need for zero."""
    return (1 << (settings.conv_bits if isinstance(layer, nn.Conv2d) else settings.fc_bits)) - 1


def stage_bytes(pruned: dict[str, int], shared: dict[str, int]) -> str:
    """One line: bytes and ratio after each stage; a format that saves nothing has the bytes of the one before."""
    sizes = {"dense": pruned["dense"], "pruned": pruned.get("relative", pruned["dense"])}
    sizes["shared"] = shared.get("codebook", sizes["pruned"])
    sizes["coded"] = shared.get("huffman", sizes["shared"])
    return "bytes: " + ", ".join(f"{name} {size:,} ({sizes['dense'] / size:.1f}x)" for name, size in sizes.items())
