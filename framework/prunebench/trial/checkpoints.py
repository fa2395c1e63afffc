"""The dense network of (model, data set, seed, recipe): trained once, then read.

A checkpoint is two files named by `Trial.network_id`: the weights (safetensors) and a JSON record with their hash and
the training curve. Both are written under another name and renamed, so that no reader meets half a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import torch
from safetensors.torch import load, save_file
from torch import Tensor

from prunebench.errors import CheckpointError
from prunebench.records import CurvePoint, decode, encode
from prunebench.writing import file_sha256, put_whole, write_whole


@dataclass(frozen=True)
class Checkpoint:
    """A trained network's weights and how they came about; `sha256` is of the file's bytes."""

    weights: Mapping[str, Any]  # tensors, and extra state of modules
    sha256: str
    train_seconds: float
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class _Record:
    sha256: str
    train_seconds: float
    curve: tuple[CurvePoint, ...]
    code: dict[str, str] = field(default_factory=dict)  # of the data set and the model, "kind:name" -> code
    tied: dict[str, str] = field(default_factory=dict)  # a name of the state -> the one whose tensor it is
    extra_state: tuple[str, ...] = ()  # names under which the file has a module's extra state, as torch saves it


@dataclass(frozen=True)
class Checkpoints:
    """A folder of checkpoints."""

    folder: Path

    def read(self, network_id: str, code: Mapping[str, str] | None = None) -> Checkpoint | None:
        """The checkpoint, None where there is none, where it was trained by other `code`, or where it is damaged.

        What is damaged is moved out of the way, under a name that tells so: the network can be trained again.
        """
        weights_path, record_path = self._paths(network_id)
        try:
            record = decode(record_path.read_bytes(), _Record)
            data = weights_path.read_bytes()
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            self._set_aside(network_id, f"{record_path} is not a record: {error}")
            return None
        if any(record.code.get(key, now) != now for key, now in (code or {}).items()):
            return None
        if hashlib.sha256(data).hexdigest() != record.sha256:
            self._set_aside(network_id, f"{weights_path} is damaged: its hash differs")
            return None
        try:
            weights = load(data)
            weights |= {name: weights[kept] for name, kept in record.tied.items()}
        except safetensors.SafetensorError as error:
            self._set_aside(network_id, f"{weights_path}: {error}")
            return None
        weights.update({name: _unpacked(weights[name]) for name in record.extra_state})
        return Checkpoint(weights, record.sha256, record.train_seconds, record.curve)

    def _set_aside(self, network_id: str, why: str) -> None:
        """Keep damaged files for whoever wants to look, and say so in the worker's log."""
        for path in self._paths(network_id):
            with contextlib.suppress(FileNotFoundError):  # another worker met the same damage
                path.rename(path.with_name(f"{path.name}.damaged"))
        print(f"{why}; set aside, the network is trained again", file=sys.stderr, flush=True)

    def write(
        self,
        network_id: str,
        weights: Mapping[str, Any],
        train_seconds: float,
        curve: tuple[CurvePoint, ...],
        code: Mapping[str, str] | None = None,
    ) -> Checkpoint:
        """Keep a `state_dict`, a tensor of two names once; the record is written last: without one none counts.

        What is returned holds the tensors given, copied only where a file could not hold them as they lie: a large
        network is not in memory twice. Raises `CheckpointError` where a module's extra state is more than tensors,
        numbers, text and containers, OSError where a file cannot be written.
        """
        weights_path, record_path = self._paths(network_id)
        extra = {name: value for name, value in weights.items() if not isinstance(value, Tensor)}
        tensors = {**weights, **{name: _packed(name, value) for name, value in extra.items()}}
        tied = _tied(weights)
        kept = _plain({name: tensor for name, tensor in tensors.items() if name not in tied})
        sha256 = _put(weights_path, kept)
        write_whole(
            record_path,
            encode(_Record(sha256, train_seconds, curve, dict(code or {}), tied, tuple(extra))),
            durable=True,
        )
        kept |= {name: kept[own] for name, own in tied.items()}
        return Checkpoint({**kept, **extra}, sha256, train_seconds, curve)

    @contextlib.contextmanager
    def training(self, network_id: str) -> Iterator[None]:
        """Hold the right to train this network: another process that wants it waits and then finds it trained."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{network_id}.lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _paths(self, network_id: str) -> tuple[Path, Path]:
        return self.folder / f"{network_id}.safetensors", self.folder / f"{network_id}.json"


def _tied(weights: Mapping[str, Any]) -> dict[str, str]:
    """Names of tensors that are another name's: the same memory, seen alike."""
    first: dict[tuple[object, ...], str] = {}
    found = {}
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            continue
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and first.setdefault(key, name) != name:
            found[name] = first[key]
    return found


def _put(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write them, and return the SHA-256 of the file; raises OSError."""
    hashes = []

    def write(part: Path) -> None:
        try:
            save_file(tensors, part)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None
        hashes.append(file_sha256(part))

    put_whole(path, write, durable=True)
    return hashes[0]


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, in the usual layout, each in memory of its own: as they are, or copies."""
    lying = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    found = {}
    for name, tensor in tensors.items():
        values, storage = tensor.detach(), tensor.untyped_storage()
        usual = torch.empty(values.shape, dtype=values.dtype, device="meta").stride()
        is_own = lying[storage.data_ptr()] == 1 and storage.nbytes() == values.nbytes and values.stride() == usual
        found[name] = values if is_own and values.device.type == "cpu" else _copied(values)
    return found


def _copied(values: Tensor) -> Tensor:
    """On the CPU in the usual layout, with the usual strides also where it has only one element."""
    values = values.cpu()
    return torch.empty(values.shape, dtype=values.dtype).copy_(values)


def _packed(name: str, value: Any) -> Tensor:
    """(B,) uint8: what `torch.save` makes of it, tried by reading it back without running any code."""
    file = io.BytesIO()
    try:
        torch.save(value, file)
        packed = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        _unpacked(packed)
    except Exception as error:
        raise CheckpointError(
            f"{name} of the network cannot be kept: get_extra_state() must return tensors, numbers, text, or lists and "
            f"dictionaries of them, got {type(value).__name__} ({type(error).__name__})"
        ) from None
    return packed


def _unpacked(packed: Tensor) -> Any:
    return torch.load(io.BytesIO(packed.numpy().tobytes()), weights_only=True)
