"""A pruned network written as a file, read back and compared before it counts."""

from __future__ import annotations

import errno
import importlib.metadata
import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.errors import CheckpointError, PruneBenchError, said
from prunebench.export.card import FORMAT, card_path
from prunebench.export.load import PROGRAM, WEIGHTS, loaded
from prunebench.export.memory import fresh_process
from prunebench.export.packing import pack, words_of
from prunebench.measure.runtimes.exporting import Program, Unexportable, exported, onnx_bytes
from prunebench.measure.scores import evaluating
from prunebench.writing import file_sha256

SUFFIXES = (".pt2", ".safetensors", ".onnx", "")
ABSOLUTE, RELATIVE = 1e-4, 1e-4  # how far outputs of the file may be from the network's
ROWS = 4  # samples that an example batch has: with one, torch.export takes the batch for fixed


def require_suffix(path: Path) -> None:
    """Raise `PruneBenchError` for a file name that says no format."""
    if path.suffix not in SUFFIXES:
        raise PruneBenchError(f"{path}: no format {path.suffix!r}; there are .pt2, .safetensors, .onnx and a folder")
    if path.exists() or card_path(path).exists():
        raise PruneBenchError(f"{path} already exists: name another, or remove it")


def save(network: nn.Module, inputs: Any, path: Path, facts: dict[str, Any], memory: bool = False) -> dict[str, Any]:
    """Write `network` to `path` with a card of `facts`, checked on `inputs`; returns the card.

    `memory` adds what a fresh process needs to load and run it.

    Raises `PruneBenchError` where it cannot be written or exported, or answers otherwise when it is read back; nothing
    is left behind then.
    """
    require_suffix(path)
    network = network.cpu().eval()
    inputs = samples.moved(inputs, "cpu")
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.absolute().parent) as name:
            return _saved(network, inputs, path, facts, Path(name), memory)
    except OSError as error:
        told = error.strerror if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS) else str(error)
        raise CheckpointError(f"{path} cannot be written: {told}; nothing is left of it") from None


def _saved(
    network: nn.Module, inputs: Any, path: Path, facts: dict[str, Any], folder: Path, memory: bool
) -> dict[str, Any]:
    place = folder / path.name
    extra = _written(network, samples.rows(inputs, slice(ROWS)), place)
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    card = {"format": FORMAT, **facts, **extra, "files": {file.name: file_sha256(file) for file in files}}
    card["file_bytes"] = sum(file.stat().st_size for file in files)
    card["largest_difference"] = _require_same(network, inputs, place, card)
    _write_card(place, card)
    if memory:
        one = samples.rows(inputs, slice(1 if card.get("batch", "any") == "any" else int(card["batch"])))
        card["fresh_process"] = fresh_process(place, one, folder)
        _write_card(place, card)
    _put(place, path)
    return card


def _put(place: Path, path: Path) -> None:
    """Both files to where they belong, or neither: the card first, for a network without one is not loaded."""
    if place.is_dir():
        os.replace(place, path)
        return
    os.replace(card_path(place), card_path(path))
    try:
        os.replace(place, path)
    except BaseException:
        card_path(path).unlink(missing_ok=True)
        raise


def _write_card(place: Path, card: dict[str, Any]) -> None:
    card_path(place).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _written(network: nn.Module, example: Any, place: Path) -> dict[str, Any]:
    """Write the network in the format that the name says; what the card has to know of it."""
    if place.suffix == ".safetensors":
        from prunebench.export.structure import described

        try:
            structure = described(network)
        except PruneBenchError as error:
            raise PruneBenchError(f"{place.name}: {error}: save it as .pt2, which holds its operations") from None
        return {"structure": structure, "packed": _write_weights(network.state_dict(), place)}
    if place.suffix == ".onnx":
        return {"batch": _onnx(network, example, place)}
    if place.suffix == ".pt2":
        program, batch = _exported(network, example)
        _write_program(program.program, place)
        return {"batch": batch}
    place.mkdir()
    program, batch = _exported(network, example)
    packed = _write_weights(program.program.state_dict, place / WEIGHTS)
    _save_without_weights(program.program, place / PROGRAM)
    return {"batch": batch, "packed": packed}


def _write_weights(state: Mapping[str, Any], place: Path) -> dict[str, str]:
    """Tensors in as few bytes as hold them exactly; how each that shrank is stored, in words."""
    from safetensors.torch import save as as_bytes

    tensors = {name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}
    stored, told = pack(tensors)
    place.write_bytes(as_bytes(stored, {"packed": json.dumps(told)}))
    return {name: words_of(how) for name, how in told.items()}


def _write_program(program: Any, place: Path) -> None:
    """By way of memory: where the disk is full, torch's own writer ends the process."""
    made = io.BytesIO()
    torch.export.save(program, made)
    place.write_bytes(made.getbuffer())


def _save_without_weights(program: Any, place: Path) -> None:
    """The operations alone: each weight is written as one number that stands for all of its entries."""
    held, state = dict(program.state_dict), program.state_dict
    try:
        for name, value in held.items():
            one = torch.zeros((), dtype=value.dtype).expand(value.shape)
            state[name] = nn.Parameter(one, requires_grad=False) if isinstance(value, nn.Parameter) else one
        with warnings.catch_warnings():  # torch wonders at a tensor that is larger than what it stores
            warnings.filterwarnings("ignore", message="No complete tensor found in the group")
            _write_program(program, place)
    finally:
        state.update(held)


def _exported(network: nn.Module, example: Any) -> tuple[Program, str]:
    """The program, and which batch sizes it takes, in words."""
    try:
        program = exported(network, example)
    except Unexportable as error:
        raise PruneBenchError(f"the network cannot be exported: {error}") from None
    return program, "any" if program.batch is None else str(program.batch)


def _onnx(network: nn.Module, example: Any, place: Path) -> str:
    program, batch = _exported(network, example)
    try:
        place.write_bytes(onnx_bytes(program))
    except Unexportable as error:
        raise PruneBenchError(f"the network cannot be written as ONNX: {error}") from None
    return batch


def _require_same(network: nn.Module, inputs: Any, place: Path, card: dict[str, Any]) -> float:
    """The largest difference of outputs between the network and the file; raises where it is beyond the tolerance."""
    few = inputs if card.get("batch", "any") == "any" else samples.rows(inputs, slice(int(card["batch"])))
    with evaluating(network), torch.no_grad():
        wanted = samples.leaves(samples.call(network, few))
        try:
            found = _onnx_outputs(place, few) if place.suffix == ".onnx" else _outputs(loaded(place, card), few)
        except PruneBenchError:
            raise
        except Exception as error:  # the border: whatever a program makes of samples that it does not take
            raise PruneBenchError(f"{place.name} does not run as the network does: {said(error, 200)}") from None
    largest = 0.0
    for a, b in zip(wanted, found, strict=True):
        difference = (a.double() - b.double()).abs()
        largest = max(largest, float(difference.max()))
        if not bool((difference <= ABSOLUTE + RELATIVE * a.double().abs()).all()):
            raise PruneBenchError(f"{place.name} answers otherwise than the network, by {largest:.3g}: it is not kept")
    return largest


def _outputs(module: nn.Module, inputs: Any) -> list[Tensor]:
    return samples.leaves(samples.call(module, inputs))


def _onnx_outputs(place: Path, inputs: Any) -> list[Tensor]:
    try:
        import onnxruntime
    except ImportError:
        raise PruneBenchError("checking an .onnx file needs pip install 'prunebench[runtimes]'") from None
    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    fed = [leaf.numpy() for leaf in samples.leaves(inputs)]
    answers = session.run(None, {given.name: leaf for given, leaf in zip(session.get_inputs(), fed, strict=True)})
    return [torch.from_numpy(answer) for answer in answers]


def versions() -> dict[str, str]:
    """Of what wrote the file."""
    return {name: importlib.metadata.version(name) for name in ("prunebench", "torch", "safetensors")}
