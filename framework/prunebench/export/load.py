"""`prunebench.load`: a saved network back as a module, without the plugins that made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import CheckpointError, PruneBenchError
from prunebench.export.card import read_card

if TYPE_CHECKING:
    from torch import nn


def load(path: str | Path) -> nn.Module:
    """The network that `bench save` wrote to `path` (.pt2, .safetensors or a folder), for inference.

    Its files are held to the hashes of the card beside it; raises `CheckpointError` where they differ or are missing.
    An exported program comes back as the module that torch.export gives: the operations are all there, the original
    classes are not. An .onnx file is for a runtime: `onnxruntime.InferenceSession(path)`.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        raise PruneBenchError(f"{path}: an .onnx file is run by a runtime: onnxruntime.InferenceSession({str(path)!r})")
    card = read_card(path)
    return loaded(path, card)


def loaded(path: Path, card: dict[str, Any]) -> nn.Module:
    """The module of files that were checked already."""
    program = path / "network.pt2" if path.is_dir() else path
    try:
        return _chain(path, card["structure"]) if path.suffix == ".safetensors" else _program(program)
    except PruneBenchError:
        raise
    except Exception as error:  # the border: whatever torch makes of a file that it does not read
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {text}") from None


def _program(path: Path) -> nn.Module:
    import torch

    return torch.export.load(path).module()


def _chain(path: Path, structure: Any) -> nn.Module:
    from safetensors.torch import load_file

    from prunebench.export.structure import built

    network = built(structure)
    network.load_state_dict(load_file(path))
    return network.eval()
