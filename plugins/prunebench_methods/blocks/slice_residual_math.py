"""Folding norms, rotating a residual stream and cutting it.

Letters: the stream is x (D,), Q (D, D) its principal directions, largest first. A layer that reads it behind a norm of
scale γ and shift β has W (m, D): W diag(γ) Q reads the rotated stream, and W β joins its bias; one that writes to it
has Q' W. A layer norm also takes the mean out of x: writers then give none, and the norm only divides by the size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from prunebench import Anatomy, Attention, Block, Mlp, NotApplicable, Part, Task, samples
from torch import Tensor, nn

from prunebench_methods.blocks.parts import bias, known_anatomy, matrix, rewrite
from prunebench_methods.shared.grams import grams_of
from prunebench_methods.shared.replace import replace_module

CLOSE = 1e-3  # of the largest answer: a network that folding changes by more is not as its anatomy says
CLOSE_IN_HALF = 0.1  # the same in half precision


class Rms(nn.Module):
    """x over its root mean square of `width` entries, of which a cut stream has fewer."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.width, self.epsilon = width, epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, d) to the same."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        size = wide.square().sum(-1, keepdim=True) / self.width + self.epsilon
        return (wide * size.rsqrt()).to(x.dtype)


def sliced(method: Any, network: nn.Module, task: Task) -> nn.Module:
    """`network` on a stream of fewer directions."""
    anatomy = known_anatomy(task)
    _require_known(network, anatomy)
    if method.keep == 1:
        task.note("all of the residual stream is kept: nothing is changed")
        return network
    places = [*(norm for block in anatomy.blocks for norm in block.norms), anatomy.final_norm]
    width = _weight(network, places[0]).numel()
    grams = grams_of(network, task, places, until=anatomy.head)
    with torch.no_grad():
        dense = _answers(network, task)
        rotation = _rotation(network, places, [grams[place].second(0) for place in places])
        if method.draws:
            drawn = torch.randn(rotation.shape, generator=task.generator, dtype=rotation.dtype)
            rotation = torch.linalg.qr(drawn)[0].to(rotation.device)
        network = _folded(network, anatomy, width)
        same = _answers(network, task)
        close = CLOSE_IN_HALF if _weight(network, anatomy.head).element_size() < 4 else CLOSE
        if not float((same - dense).abs().max()) <= close * float(dense.abs().max()):
            raise NotApplicable("its outputs change when norms are folded: it is not built as its anatomy says")
        kept = method.width(width)
        _rotate(network, anatomy, rotation[:, :kept])
        try:
            _answers(network, task)
        except (RuntimeError, ValueError) as error:
            line = str(error).strip().splitlines()[0]
            raise NotApplicable(f"its own code needs the whole residual stream ({line})") from None
    for part in _parts(anatomy):
        task.layer(part.module, rank=kept)
    return network


def _answers(network: nn.Module, task: Task) -> Tensor:
    answer = samples.call(network, task.example_input)
    found: Tensor = answer if isinstance(answer, Tensor) else answer.logits
    return found.float()


def _require_known(network: nn.Module, anatomy: Anatomy) -> None:
    """Raise `NotApplicable` where something is not known that reads or writes the stream."""
    if not anatomy.embeddings or not anatomy.head or not anatomy.final_norm:
        raise NotApplicable("its embeddings, its last norm or its head are not known: all write or read the stream")
    if any(block.attention is None or block.mlp is None or not block.pre_norm for block in anatomy.blocks):
        raise NotApplicable("not all of its blocks are known as attention and MLP behind norms")
    if not all(part.called for part in _parts(anatomy)):
        raise NotApplicable("its attention reads matrices without calling a layer")
    if not isinstance(network.get_submodule(anatomy.head), nn.Linear):
        raise NotApplicable("its head is no linear layer")
    norms = [network.get_submodule(n) for block in anatomy.blocks for n in block.norms]
    if any(len(block.norms) != 2 for block in anatomy.blocks) or any(_epsilon(norm) is None for norm in norms):
        raise NotApplicable("its blocks do not have exactly one norm before the attention and one before the MLP")


def _readers(block: Block) -> list[tuple[str, list[Part]]]:
    """Norm -> the parts that read behind it."""
    attention, mlp = block.attention, block.mlp
    assert isinstance(attention, Attention) and isinstance(mlp, Mlp)
    first = [attention.query, attention.key, attention.value]
    return [(block.norms[0], _once(first)), (block.norms[1], [p for p in (mlp.up, mlp.gate) if p is not None])]


def _writers(block: Block) -> list[Part]:
    assert block.attention is not None and block.mlp is not None
    return [block.attention.output, block.mlp.down]


def _once(parts: list[Part]) -> list[Part]:
    """Each module once: of packed matrices all rows read the stream."""
    return list({part.module: part for part in parts}.values())


def _parts(anatomy: Anatomy) -> list[Part]:
    parts = [part for block in anatomy.blocks for _, read in _readers(block) for part in read]
    return parts + [part for block in anatomy.blocks for part in _writers(block)]


def _epsilon(norm: Any) -> float | None:
    """Of a layer norm or a root-mean-square norm with a scale; None for other modules."""
    is_rms = type(norm).__name__.endswith("RMSNorm")
    if not (isinstance(norm, nn.LayerNorm) or is_rms) or getattr(norm, "weight", None) is None:
        return None
    found = getattr(norm, "eps", getattr(norm, "variance_epsilon", None))
    return torch.finfo(norm.weight.dtype).eps if found is None else float(found)


def _weight(network: nn.Module, name: str) -> Tensor:
    weight: Tensor = network.get_submodule(name).weight  # type: ignore[assignment]
    return weight


def _rotation(network: nn.Module, places: list[str], moments: list[Tensor]) -> Tensor:
    """(D, D): principal directions of the stream, every place at its own size."""
    total = torch.zeros_like(moments[0])
    for place, moment in zip(places, moments, strict=True):
        if isinstance(network.get_submodule(place), nn.LayerNorm):
            centre = torch.eye(len(moment)).to(moment) - 1 / len(moment)
            moment = centre @ moment @ centre
        total += moment / moment.diagonal().sum().clamp_min(1e-300)
    directions: Tensor = torch.linalg.eigh(total)[1]
    return directions.flip(1)


def _head(network: nn.Module, anatomy: Anatomy) -> Part:
    has_bias = network.get_submodule(anatomy.head).bias is not None
    return Part(anatomy.head, bias="bias" if has_bias else "")


def _folded(network: nn.Module, anatomy: Anatomy, width: int) -> nn.Module:
    """The same answers with norms that only divide; writers give no mean where layer norms took it out."""
    reading = [pair for block in anatomy.blocks for pair in _readers(block)]
    reading.append((anatomy.final_norm, [_head(network, anatomy)]))
    centres = any(isinstance(network.get_submodule(norm), nn.LayerNorm) for norm, _ in reading)
    for name, parts in reading:
        norm: Any = network.get_submodule(name)
        shift = getattr(norm, "bias", None)
        for part in parts:
            weight, own = matrix(network, part), bias(network, part)
            if shift is not None and bool(shift.any()):
                part = replace(part, bias="bias")
                own = _with_bias(network, part, own) + weight @ shift.to(weight)
            rewrite(network, part, weight * norm.weight.to(weight), own)
        network = replace_module(network, name, Rms(width, _epsilon(norm) or 0.0))
    if centres:
        for part in (part for block in anatomy.blocks for part in _writers(block)):
            weight, own = matrix(network, part), bias(network, part)
            rewrite(network, part, weight - weight.mean(0), None if own is None else own - own.mean())
        for name in anatomy.embeddings:
            table: Any = network.get_submodule(name)
            table.weight = nn.Parameter(table.weight - table.weight.mean(1, keepdim=True))
    return network


def _with_bias(network: nn.Module, part: Part, own: Tensor | None) -> Tensor:
    """The bias; of a linear layer without one, zeros."""
    module: Any = network.get_submodule(part.module)
    if own is None and not isinstance(module, nn.Linear):
        raise NotApplicable(f"{part.module} has no bias that could take over its norm's shift")
    weight = matrix(network, part)
    return weight.new_zeros(len(weight)) if own is None else own


def _rotate(network: nn.Module, anatomy: Anatomy, kept: Tensor) -> None:
    """Everything on the stream, in the basis of the kept directions (D, d)."""

    def onto(weight: Tensor) -> Tensor:
        return (weight.double() @ kept).to(weight.dtype)

    head = _head(network, anatomy)
    readers = [part for block in anatomy.blocks for _, parts in _readers(block) for part in parts]
    for part in (*readers, head):
        rewrite(network, part, onto(matrix(network, part)), bias(network, part))
    for part in (part for block in anatomy.blocks for part in _writers(block)):
        own = bias(network, part)
        rewrite(network, part, onto(matrix(network, part).T).T, None if own is None else onto(own[None])[0])
    for name in anatomy.embeddings:
        table: Any = network.get_submodule(name)
        table.weight = nn.Parameter(onto(table.weight.detach()))
        table.embedding_dim = kept.shape[1]
