"""The network of an imported function with the weights of a file, or why not, in one line."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunebench import DataError, PruneBenchError, Target

SUFFIXES = (".safetensors", ".pt", ".pth")


def check_weights(weights: str) -> None:
    """Raise ValueError unless there is such a file, of a kind that is read."""
    path = Path(weights)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"weights {weights!r} must be a file {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"weights {weights!r}: there is no file {path.absolute()}")


def built(target: str, arguments: Mapping[str, Any], outputs: int, weights: str) -> Any:
    """The network; raises `PruneBenchError` where the function returns none or the weights do not fit it."""
    from torch import nn

    network = Target(target).call(arguments, outputs=outputs)
    if not isinstance(network, nn.Module):
        raise PruneBenchError(f"{target} must return an nn.Module, got {type(network).__name__}")
    if weights:
        _load(network, state(Path(weights)), f"weights {weights!r} do not fit what {target} builds")
    return network


def state(path: Path) -> dict[str, Any]:
    """The tensors of a file, read without running any code; raises `DataError` for what is no state_dict."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as weights: {text}") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise DataError(f"{path} holds no state_dict: save network.state_dict(), not the network or a training state")
    return found


def _load(network: Any, tensors: Mapping[str, Any], what: str) -> None:
    from prunebench import load_weights

    own = network.state_dict()
    missing, foreign = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or foreign:
        told = [f"they lack {_few(missing)}"] if missing else []
        told += [f"they have {_few(foreign)}, which it has not"] if foreign else []
        raise DataError(f"{what}: {'; '.join(told)}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(own[name].shape):
            raise DataError(f"{what}: {name} is {tuple(tensor.shape)}, the network's {tuple(own[name].shape)}")
    load_weights(network, tensors)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
