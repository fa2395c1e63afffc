"""Language models with random weights: a whole prompt, and one token with its past, dense against factored."""

from __future__ import annotations

import copy
import gc
from typing import Any

import torch
from prunebench import NotApplicable
from prunebench.measure.counts import mac_count
from prunebench.trial.task import TrialTask
from prunebench_models.decoder import Decoder, Sizes, anatomy_of, initialised
from torch import Tensor

from card.networks import method_of, pruned_by, relative_error, task_for
from card.pairs import by_protocol
from card.record import Record, Size

HALF = {"float32": 1e-4, "bfloat16": 0.1}  # what logits may differ from the CPU's in float32
STEP = 1e-4  # one token with its past against the whole prompt at once


def sizes_of(size: Size) -> dict[str, Sizes]:
    """`tiny_gpt` as it is bundled, and a decoder in the sizes of SmolLM2-135M; a tenth of it has three blocks."""
    large = Sizes(49_152, 30, 576, 9, 3, 1536) if size.is_full else Sizes(4915, 3, 144, 9, 3, 384)
    return {"tiny_gpt": Sizes(256, 3, 128, 4, 2, 288), "SmolLM2-sized": large}


def run(record: Record) -> None:
    """Each model, both ways that it is called, against each method."""
    prompt, batches = record.size.of((512, (1, 16)), (48, (1, 2)))
    dtypes = record.size.of(("float32", "bfloat16"), ("float32",))
    for name, sizes in sizes_of(record.size).items():
        torch.manual_seed(0)
        network = initialised(Decoder(sizes), sizes.depth).eval()
        tokens = torch.randint(sizes.vocabulary, (max(batches), prompt), generator=torch.Generator().manual_seed(1))
        _right(record, name, network, tokens[:1])
        with record.case(f"{name}: the methods"):
            task = task_for(network, tokens[:2], record.place, sizes.vocabulary, anatomy_of(network))
            _timed(record, name, network, sizes, tokens, task, batches, dtypes)
        gc.collect()
    ways = {(row["model"], row["way"]) for row in record.rows if "way" in row}
    record.check("both models were timed both ways", len(ways) == 4, sorted(ways))


def _right(record: Record, name: str, network: Decoder, tokens: Tensor) -> None:
    """Logits on the device against the CPU's; one token with its past against the whole prompt."""
    with torch.inference_mode(), record.case(f"{name}: logits"):
        wanted = network(tokens)
        for dtype, bound in HALF.items():
            there = copy.deepcopy(network).to(record.place, getattr(torch, dtype))
            error = relative_error(there(tokens.to(record.place)), wanted)
            record.check(f"{name} in {dtype}: logits within {bound:g} of the CPU's", error <= bound, f"{error:.2e}")
        there = copy.deepcopy(network).to(record.place)
        moved = tokens.to(record.place)
        past = past_of(there, moved[:, :-1])
        error = relative_error(there(moved[:, -1:], past)[:, -1], there(moved)[:, -1])
        record.check(f"{name}: a token with its past within {STEP:g} of the whole", error <= STEP, f"{error:.2e}")


def past_of(network: Decoder, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of all blocks for the tokens (B, T)."""
    kept: list[tuple[Tensor, Tensor]] = []
    handles = [
        block.self_attn.register_forward_pre_hook(
            lambda module, inputs: kept.append(module.query_key_value(inputs[0], 0)[1:])
        )
        for block in network.model.layers
    ]
    network(tokens)
    for handle in handles:
        handle.remove()
    return kept


def _timed(
    record: Record, name: str, network: Decoder, sizes: Sizes, tokens: Tensor, task: TrialTask,
    batches: tuple[int, ...], dtypes: tuple[str, ...],
) -> None:  # fmt: skip
    seconds = record.size.of(0.7, 0.3)
    full = mac_count(network, task.example_input)
    for method, settings in (("low_rank", {"rank_ratio": 0.25, "round_to": 16}), ("mlp_width", {"keep": 0.5})):
        with record.case(f"{name}, {method}", declines=(NotApplicable,)):
            pruned = pruned_by(method_of(method, task, network, **settings), network, task)
            macs = round(full / mac_count(pruned, task.example_input), 2)
            for way, batch, dtype in ((w, b, d) for w in ("prefill", "decode") for b in batches for d in dtypes):
                if not record.has_time(f"{name}, {method}, {way} at {batch} in {dtype}", 2 * seconds):
                    continue
                x = _input(way, sizes, tokens[:batch], record.place)
                found = by_protocol(network, pruned, x, batch, record.place, seconds, dtype=dtype)
                facts = {"model": name, "method": method, "way": way, "batch": batch, "dtype": dtype, "macs": macs}
                record.row(**facts, prompt=tokens.shape[1], **found.values())


def _input(way: str, sizes: Sizes, tokens: Tensor, device: str) -> Any:
    """A whole prompt; or one token of each sequence beside what a past of that length keeps."""
    if way == "prefill":
        return tokens.to(device)
    shape = (len(tokens), sizes.key_value_heads, tokens.shape[1], sizes.head_dim)
    past = [(torch.randn(shape, device=device), torch.randn(shape, device=device)) for _ in range(sizes.depth)]
    return {"tokens": tokens[:, :1].to(device), "past": past}
