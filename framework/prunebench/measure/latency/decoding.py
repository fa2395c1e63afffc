"""One more token behind a cache, as language models answer: both networks, each behind what it keeps itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.errors import NotApplicable
from prunebench.measure.latency.latency import measured
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.scores import evaluating
from prunebench.records import Latency, LatencyProtocol
from prunebench.samples import Tree

Decoding = Callable[[nn.Module, Tensor], tuple[Any, ...] | None]  # `Model.decoding`

LOOSE = 0.1  # relative: of networks that round activations by the largest of all tokens in a call


def is_text(inputs: Tree) -> bool:
    """Whether samples are windows of tokens, (N, T) int64."""
    return isinstance(inputs, Tensor) and inputs.ndim == 2 and inputs.dtype == torch.int64


def decode_latency(
    dense: nn.Module,
    pruned: nn.Module,
    tokens: Tensor,
    decoding: Decoding,
    protocol: LatencyProtocol,
    device: torch.device,
    seed: int,
) -> tuple[Latency, ...]:
    """One record per batch size: the token behind `protocol.decode` others; `tokens` (N, T) are windows to read.

    Raises `NotApplicable` where the model knows no cache, windows are too short, or a network answers otherwise behind
    its cache than to the whole text; and what `latency` raises.
    """
    length = protocol.decode + 1
    if not is_text(tokens) or tokens.shape[1] < length:
        raise NotApplicable(
            f"decode = {protocol.decode} needs windows of {length} tokens, got {samples.shapes(tokens)}"
        )
    found = []
    for batch in protocol.batch:
        text = samples.rows(tokens, torch.arange(batch) % len(tokens))[:, :length].contiguous()
        tight = 16 * torch.finfo(_dtype(dense)).eps ** 0.5
        x, other = cached(dense, text, decoding, tight), cached(pruned, text, decoding, LOOSE)
        asked = Comparison(dense, pruned, x, protocol, device, seed + batch, pruned_x=other)
        timed = replace(measured(asked), mode="decode", token_count=1, context=protocol.decode)
        sizes = samples.byte_count(other[1:]), samples.byte_count(x[1:])
        found.append(replace(timed, cache_bytes=sizes[0], dense_cache_bytes=sizes[1]))
    return tuple(found)


def _dtype(network: nn.Module) -> torch.dtype:
    kinds = [parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()]
    return kinds[0] if kinds else torch.float32


def cached(network: nn.Module, text: Tensor, decoding: Decoding, tolerance: float) -> tuple[Any, ...]:
    """What `network` is called with for the last token of `text` (B, T), tried.

    Raises `NotApplicable` where the answer is not that to the whole text within the relative `tolerance`, or where the
    call changes what it is given.
    """
    with evaluating(network), torch.inference_mode():
        found = decoding(network, text)
        if found is None:
            raise NotApplicable("the model has no cache, which decoding needs")
        before = samples.mapped(Tensor.clone, found)
        answered, wanted = samples.call(network, found), samples.call(network, text)[:, -1:]
    kept = zip(samples.leaves(found), samples.leaves(before), strict=True)
    if not all(torch.equal(one, other) for one, other in kept):
        raise NotApplicable("the call with the cache changes the cache that it is given")
    error = float((answered.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30))
    if answered.shape != wanted.shape or not error <= tolerance:
        raise NotApplicable(f"with its cache the network gives other outputs than on the whole text, by {error:.2g}")
    return found
