"""`prunebench.load`: a saved network back as a module, without the plugins that made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import CheckpointError, PruneBenchError
from prunebench.export.card import read_card

PROGRAM, WEIGHTS = "network.pt2", "weights.safetensors"  # what a folder holds

if TYPE_CHECKING:
    from torch import nn


def load(path: str | Path) -> nn.Module:
    """The network that `bench save` wrote to `path` (.pt2, .safetensors or a folder), for inference.

    Its files must match the hashes in the card beside it; raises `CheckpointError` where they differ or are missing.
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
    try:
        if path.suffix == ".safetensors":
            return _chain(path, card["structure"])
        return _with_weights(path) if path.is_dir() else _program(path)
    except PruneBenchError:
        raise
    except Exception as error:  # the border: whatever torch makes of a file that it does not read
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {text}") from None


def _program(path: Path) -> nn.Module:
    import torch

    return torch.export.load(path).module()


def _with_weights(folder: Path) -> nn.Module:
    """The program of a folder with its weights; of the first folders the program has them itself."""
    import torch
    from torch import nn

    program, state = torch.export.load(folder / PROGRAM), _state(folder / WEIGHTS)
    for name, value in program.state_dict.items():
        if name in state:
            is_parameter = isinstance(value, nn.Parameter)
            given = nn.Parameter(state[name], requires_grad=False) if is_parameter else state[name]
            program.state_dict[name] = given
    return program.module()


def _chain(path: Path, structure: Any) -> nn.Module:
    from prunebench.export.structure import built

    network = built(structure)
    network.load_state_dict(_state(path))
    return network.eval()


def _state(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, unpacked."""
    import json

    from safetensors import safe_open

    from prunebench.export.packing import unpack

    with safe_open(path, "pt") as file:
        stored = {name: file.get_tensor(name) for name in list(file.keys())}
        told = json.loads((file.metadata() or {}).get("packed", "{}"))
    return unpack(stored, told)
