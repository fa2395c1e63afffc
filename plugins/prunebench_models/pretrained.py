"""Torchvision's builders and weights, with messages that say what to do when they are not there."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import torch
from prunebench import DataError
from torch import Tensor, nn
from torchvision import models

HASH = re.compile(r"-([0-9a-f]{8,})\.")  # the beginning of the SHA-256, in the name of every file of torchvision's


def check_arch(arch: str) -> None:
    """Raise ValueError unless torchvision has a classifier of that name."""
    known = models.list_models(module=models)
    if arch not in known:
        raise ValueError(f"torchvision has no classifier {arch!r}; close: {_close(arch, known)}")


def check_weights(arch: str, weights: str) -> None:
    """Raise ValueError unless torchvision has these weights for `arch`."""
    known = [member.name for member in models.get_model_weights(arch)]  # without DEFAULT, which moves with releases
    if weights not in known:
        allowed = ", ".join(["''", "'untrained'", *(repr(name) for name in known)])
        raise ValueError(f"{arch} has no weights {weights!r}; allowed: {allowed}")


def _close(name: str, known: list[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, known, n=3) or known)


def fresh(arch: str, class_count: int) -> nn.Module:
    """The architecture with random weights and as many outputs as there are classes."""
    extra = {"init_weights": True} if arch in ("googlenet", "inception_v3") else {}
    return _single_output(models.get_model(arch, weights=None, num_classes=class_count, **extra))


def trained(arch: str, weights: str, class_count: int) -> nn.Module:
    """The architecture with torchvision's weights, fetched once into the hub folder, checked at every reading."""
    chosen = models.get_model_weights(arch)[weights]
    known = len(chosen.meta["categories"])
    if known != class_count:
        raise DataError(
            f"{arch} with weights {weights!r} has {known:,} classes, the data set has {class_count}: "
            f"use the data set 'imagenet', or weights = '' to train it here"
        )
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rsplit("/", 1)[-1]
    try:
        with _read_safely(chosen, file):
            return _single_output(models.get_model(arch, weights=chosen))
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"weights {weights!r} of {arch} could not be fetched ({reason}): put {chosen.url} at {file}"
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{file} is damaged ({reason}): delete it and it will be fetched again from {chosen.url}"
        ) from error


@contextlib.contextmanager
def _read_safely(chosen: models.WeightsEnum, file: Path) -> Iterator[None]:
    """Inside, torchvision's builder is handed `state`: by itself it trusts a file that is there, and unpickles it."""
    chosen.get_state_dict = lambda *_, **__: state(chosen.url, file)
    try:
        yield
    finally:
        del chosen.get_state_dict


def state(url: str, file: Path) -> dict[str, Tensor]:
    """The weights in `file`, fetched from `url` if need be; raises DataError unless they have the hash in its name.

    Nothing but tensors is unpickled.
    """
    (wanted,) = HASH.findall(file.name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), wanted)
    with open(file, "rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(wanted):
        reason = f"its SHA-256 begins with {found[: len(wanted)]}, not {wanted}"
        raise DataError(
            f"{file} is damaged or was changed ({reason}): delete it and it will be fetched again from {url}"
        )
    result: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return result


def _single_output(network: nn.Module) -> nn.Module:
    """Without the auxiliary classifiers of the Inception family, so that training sees logits and nothing else."""
    for name in ("AuxLogits", "aux1", "aux2"):
        if hasattr(network, name):
            setattr(network, name, None)
    if hasattr(network, "aux_logits"):
        network.__dict__["aux_logits"] = False
    return network
