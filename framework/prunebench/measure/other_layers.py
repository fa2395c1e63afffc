"""Parameters outside the layers that methods act on: attention's own, embeddings, norms. A row each, with the reason.

They are why `keep = 0.2` may leave half of a network. A reader who sums the parameters of all rows has the whole one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunebench.measure import weights
from prunebench.measure.plain import is_layer
from prunebench.records import LayerRecord


def other_records(
    dense: nn.Module, pruned: nn.Module, listed: Collection[str], notes: Mapping[str, Mapping[str, Any]]
) -> Iterator[LayerRecord]:
    """A record for each module of `dense` with parameters of its own that is in none of the `listed` layers.

    `notes` is what the method said about it. A parameter that several modules share counts once, where it comes first.
    """
    after = dict(pruned.named_modules())
    seen = {id(value) for name in listed for value in dense.get_submodule(name).parameters()}
    for name, module in dense.named_modules():
        own = [value for value in module.parameters(recurse=False) if id(value) not in seen]
        seen |= {id(value) for value in own}
        if own and not _is_within(name, listed):
            yield _record(name, module, own, after.get(name), notes.get(name, {}))


def _is_within(name: str, listed: Collection[str]) -> bool:
    return name in listed or any(name.startswith(f"{layer}.") for layer in listed if layer)


def _record(
    name: str, module: nn.Module, own: list[Tensor], after: nn.Module | None, notes: Mapping[str, Any]
) -> LayerRecord:
    before, kind = sum(value.numel() for value in own), parametrize.type_before_parametrizations(module).__name__
    held = list(after.parameters(recurse=False))[: len(own)] if after is not None else []
    left = [weights.values_of(value) for value in held]
    count, nonzero = sum(value.numel() for value in left), sum(int(torch.count_nonzero(value)) for value in left)
    is_whole = [value.shape for value in held] == [value.shape for value in own] and nonzero >= _nonzero(own)
    return LayerRecord(
        name=name or "(the network)",
        kind=kind,
        parameter_count_before=before,
        parameter_count_after=count if after is not None else None,
        nonzero_parameter_count_after=nonzero if after is not None else None,
        left_alone=str(notes.get("left_alone") or (_reason(module, kind) if is_whole else "")),
    )


def _nonzero(values: list[Tensor]) -> int:
    return sum(int(torch.count_nonzero(weights.values_of(value))) for value in values)


def _reason(module: nn.Module, kind: str) -> str:
    if is_layer(module):
        return "never called: what reads its weight, if anything does, is another module"
    return f"parameters of {kind}: no linear layer or 2-D convolution"
