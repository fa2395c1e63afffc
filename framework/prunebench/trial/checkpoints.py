"""The dense network of (model, data set, seed, recipe): trained once, then read.

A checkpoint is two files named by `Trial.network_id`: the weights (safetensors) and a JSON record with their hash and
the training curve. Both are written under another name and renamed, so that no reader meets half a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import safetensors
from safetensors.torch import load, save
from torch import Tensor

from prunebench.records import CurvePoint, decode, encode


@dataclass(frozen=True)
class Checkpoint:
    """A trained network's weights and how they came about; `sha256` is of the file's bytes."""

    weights: Mapping[str, Tensor]
    sha256: str
    train_seconds: float
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class _Record:
    sha256: str
    train_seconds: float
    curve: tuple[CurvePoint, ...]
    code: dict[str, str] = field(default_factory=dict)  # of the data set and the model, "kind:name" -> code


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
            self._set_aside(network_id, f"{record_path} is no record: {error}")
            return None
        if any(record.code.get(key, now) != now for key, now in (code or {}).items()):
            return None
        if hashlib.sha256(data).hexdigest() != record.sha256:
            self._set_aside(network_id, f"{weights_path} is damaged: its hash differs")
            return None
        try:
            return Checkpoint(load(data), record.sha256, record.train_seconds, record.curve)
        except safetensors.SafetensorError as error:
            self._set_aside(network_id, f"{weights_path}: {error}")
            return None

    def _set_aside(self, network_id: str, why: str) -> None:
        """Keep damaged files for who wants to look, and say so in the worker's log."""
        for path in self._paths(network_id):
            with contextlib.suppress(FileNotFoundError):  # another worker met the same damage
                path.rename(path.with_name(f"{path.name}.damaged"))
        print(f"{why}; set aside, the network is trained again", file=sys.stderr, flush=True)

    def write(
        self,
        network_id: str,
        weights: Mapping[str, Tensor],
        train_seconds: float,
        curve: tuple[CurvePoint, ...],
        code: Mapping[str, str] | None = None,
    ) -> Checkpoint:
        """Keep the weights; the record is written last, so a checkpoint without one does not count."""
        weights_path, record_path = self._paths(network_id)
        kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
        data = save(kept)
        sha256 = hashlib.sha256(data).hexdigest()
        _write_whole(weights_path, data)
        _write_whole(record_path, encode(_Record(sha256, train_seconds, curve, dict(code or {}))))
        return Checkpoint(kept, sha256, train_seconds, curve)

    @contextlib.contextmanager
    def training(self, network_id: str) -> Iterator[None]:
        """Hold the right to train this network: another process that wants it waits and then finds it trained."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{network_id}.lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _paths(self, network_id: str) -> tuple[Path, Path]:
        return self.folder / f"{network_id}.safetensors", self.folder / f"{network_id}.json"


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
