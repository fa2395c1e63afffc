"""Vision transformers whose blocks merge tokens: what replaces a block, and whether it may.

Letters: T tokens of width D, of which the first p (class tokens) stay as they are; r pairs are merged in a block.
The tokens between are split by turns: A at even places of all T, B at odd ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from prunebench import Anatomy, Attention, NotApplicable, Task, samples
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.blocks.parts import known_anatomy
from prunebench_methods.shared.replace import replace_module

CLOSE = 1e-3  # of the largest answer: blocks that are rebuilt must answer as before
CLOSE_IN_HALF = 0.1  # the same in half precision


@dataclass(frozen=True)
class Form:
    """A block as names of its children, in the order of their calls: x + after(attention(before(x))), x + second(x)."""

    before: tuple[str, ...]
    attention: str
    after: tuple[str, ...]
    second: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {*self.before, self.attention, *self.after, *self.second}


FORMS = (
    Form(("ln_1",), "self_attention", ("dropout",), ("ln_2", "mlp")),  # torchvision
    Form(("norm1",), "attn", ("ls1", "drop_path1"), ("norm2", "mlp", "ls2", "drop_path2")),  # timm
    Form(("norm1",), "attention", (), ("norm2", "up", "act", "down")),  # a plain one with layers of its own
)


def form_of(block: nn.Module) -> Form | None:
    """The form that has exactly the children of `block`."""
    names = {name for name, _ in block.named_children()}
    return next((form for form in FORMS if form.names == names), None)


class MergingAttention(nn.Module):
    """Self-attention over (B, T, D) that tells its keys, and counts a token as often as its size says."""

    def __init__(self, maps: Mapping[str, nn.Module], output: str, heads: int, norms: tuple[str, str] | None) -> None:
        super().__init__()
        for name, module in maps.items():
            self.add_module(name, module)
        self.output, self.heads, self.norms = output, heads, norms
        self.inputs = tuple(name for name in maps if name != output and name not in (norms or ()))

    def forward(self, x: Tensor, size: Tensor | None) -> tuple[Tensor, Tensor]:
        """Answers (B, T, D) and the mean key of the heads (B, T, head_dim); `size` is (B, T, 1)."""
        flat = torch.cat([self.get_submodule(name)(x) for name in self.inputs], -1) if len(self.inputs) > 1 else None
        flat = self.get_submodule(self.inputs[0])(x) if flat is None else flat
        query, key, value = flat.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if self.norms is not None:
            query, key = self.get_submodule(self.norms[0])(query), self.get_submodule(self.norms[1])(key)
        mask = None if size is None else size.log().to(query.dtype).transpose(1, 2)[:, None]  # (B, 1, 1, T)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.get_submodule(self.output)(mixed.transpose(1, 2).flatten(2)), key.mean(1)


class MergingBlock(nn.Module):
    """Takes the place of a block; `count` pairs of tokens become one between its attention and its MLP.

    Blocks hand on the tokens with their sizes; the first is given tokens alone, and the last gives them alone. The
    control's pairs are fixed: `order` (A,) says which of A go first, `targets` (A,) into which of B each goes.
    """

    order: Tensor | None
    targets: Tensor | None

    def __init__(self, block: nn.Module, form: Form, attention: MergingAttention, prefix: int, weighted: bool) -> None:
        super().__init__()
        for name, child in block.named_children():
            self.add_module(name, attention if name == form.attention else child)
        self.form, self.prefix, self.weighted = form, prefix, weighted
        self.count, self.is_last = 0, False
        self.register_buffer("order", None)
        self.register_buffer("targets", None)

    def forward(self, given: Tensor | tuple[Tensor, Tensor | None]) -> Tensor | tuple[Tensor, Tensor | None]:
        """(B, T, D), with sizes (B, T, 1) or None for all ones, to the same with fewer tokens."""
        x, size = given if isinstance(given, tuple) else (given, None)
        attention = self.get_submodule(self.form.attention)
        answers, keys = attention(self._passed(self.form.before, x), size if self.weighted else None)
        x = x + self._passed(self.form.after, answers)
        if self.count:
            order, targets = self._pairs(keys)
            size = x.new_ones(*x.shape[:2], 1) if size is None else size
            x, size = merged(x, size, order, targets, self.count, self.prefix)
        x = x + self._passed(self.form.second, x)
        return x if self.is_last else (x, size)

    def _passed(self, names: tuple[str, ...], x: Tensor) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x

    def _pairs(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        if self.order is None or self.targets is None:
            return matched(keys, self.prefix)
        batch = keys.shape[0]  # len() would fix it in an exported program
        return self.order.expand(batch, -1), self.targets.expand(batch, -1)


def halves(x: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """(B, T, …) behind its prefix: what stands at even places of all, and at odd ones."""
    return x[:, prefix + prefix % 2 :: 2], x[:, prefix + (prefix + 1) % 2 :: 2]


def matched(keys: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """(B, A) tokens of A, those first whose best match in B is the most similar; (B, A) that match of each."""
    first, second = halves(functional.normalize(keys, dim=-1), prefix)
    best, targets = (first @ second.transpose(1, 2)).max(-1)
    return best.argsort(dim=-1, descending=True), targets


def merged(x: Tensor, size: Tensor, order: Tensor, targets: Tensor, count: int, prefix: int) -> tuple[Tensor, Tensor]:
    """Tokens (B, T − r, D) and sizes: the prefix, what is left of A in its order, then B with what came to each."""
    whole = torch.cat([x * size, size], -1)  # (B, T, D + 1): sums, and how many are in each
    first, second = halves(whole, prefix)
    going, staying = order[:, :count], order[:, count:].sort(-1).values
    into = targets.gather(1, going)[..., None] == torch.arange(second.shape[1], device=x.device)  # (B, r, B's)
    second = second + into.to(x.dtype).transpose(1, 2) @ _taken(first, going)
    whole = torch.cat([whole[:, :prefix], _taken(first, staying), second], 1)
    return whole[..., :-1] / whole[..., -1:], whole[..., -1:]


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def merging(method: Any, network: nn.Module, task: Task) -> nn.Module:
    """`network` with blocks that merge tokens as the method says."""
    anatomy = known_anatomy(task)
    _require_known(network, anatomy)
    prefix = _prefix(network)
    with torch.no_grad():
        tokens = _token_count(network, task, anatomy)
        counts = _counts(method, tokens, prefix, len(anatomy.blocks))
        if not any(counts):
            if method.tokens != 0 and method.share != 0:
                raise NotApplicable(f"of its {tokens} tokens the settings merge none")
            task.note("no token is merged: nothing is changed")
            return network
        dense = _answers(network, task)
        blocks = _rebuilt(network, anatomy, prefix, method.weighted)
        _require_same(network, task, dense, "its blocks do not compute as those of their name do")
        _require_prefix_alone(network, task, dense, blocks[-1], prefix)
        for block, count in zip(blocks, counts, strict=True):
            block.count = count
            if method.draws and count:
                _draw(block, tokens - prefix, task.generator)
            tokens -= count
        _answers(network, task)
    left = [tokens + sum(counts[place + 1 :]) for place in range(len(counts))]
    task.note("tokens behind the attention of each block: " + ", ".join(map(str, left)))
    return network


def _counts(method: Any, tokens: int, prefix: int, blocks: int) -> list[int]:
    """How many tokens each block merges."""
    found = []
    for _ in range(blocks):
        found.append(method.count(tokens - prefix))
        tokens -= found[-1]
    return found


def _require_known(network: nn.Module, anatomy: Anatomy) -> None:
    """Raise `NotApplicable` unless all blocks are of a known form and called one after the other by a Sequential."""
    if anatomy.embeddings:
        raise NotApplicable("it reads tokens of a vocabulary: merging is for patches of images")
    for block in anatomy.blocks:
        if form_of(network.get_submodule(block.name)) is None or not block.pre_norm:
            raise NotApplicable(f"{block.name} is no block of a vision transformer whose form is known")
        if block.attention is None or block.attention.causal or block.attention.rotary:
            raise NotApplicable(f"the attention of {block.name} is not known, or sees only what came before")
    places = {block.name.rpartition(".")[0] for block in anatomy.blocks}
    holder = network.get_submodule(places.pop())
    if places or not isinstance(holder, nn.Sequential) or len(holder) != len(anatomy.blocks):
        raise NotApplicable("its blocks do not follow one another in one nn.Sequential")


def _prefix(network: nn.Module) -> int:
    """Class tokens and others in front of the patches, as the network says; 1 where it says nothing."""
    told = (getattr(module, "num_prefix_tokens", None) for module in network.modules())
    return next((count for count in told if isinstance(count, int)), 1)


def _token_count(network: nn.Module, task: Task, anatomy: Anatomy) -> int:
    """Tokens that the first block is given."""
    seen: list[int] = []
    first = network.get_submodule(anatomy.blocks[0].name)
    handle = first.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    try:
        _answers(network, task)
    finally:
        handle.remove()
    return seen[0]


def _answers(network: nn.Module, task: Task) -> Tensor:
    try:
        answer = samples.call(network, task.example_input)
    except (RuntimeError, ValueError, AttributeError, TypeError, IndexError) as error:
        line = str(error).strip().splitlines()[0]
        raise NotApplicable(f"its own code does not run with blocks that merge tokens ({line})") from None
    found: Tensor = answer if isinstance(answer, Tensor) else answer.logits
    return found.float()


def _require_same(network: nn.Module, task: Task, dense: Tensor, why: str) -> None:
    is_half = next(network.parameters()).element_size() < 4
    close = CLOSE_IN_HALF if is_half else CLOSE
    if not float((_answers(network, task) - dense).abs().max()) <= close * float(dense.abs().max()):
        raise NotApplicable(why)


def _require_prefix_alone(network: nn.Module, task: Task, dense: Tensor, last: nn.Module, prefix: int) -> None:
    """Raise `NotApplicable` where the answer changes with other tokens than the prefix, as a mean over all does."""

    def emptied(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return torch.cat([output[:, :prefix], torch.zeros_like(output[:, prefix:])], 1)

    handle = last.register_forward_hook(emptied)
    try:
        _require_same(network, task, dense, "its head reads all tokens, not a class token alone")
    finally:
        handle.remove()


def _rebuilt(network: nn.Module, anatomy: Anatomy, prefix: int, weighted: bool) -> list[MergingBlock]:
    """Blocks in the place of the network's, which merge nothing yet."""
    found = []
    for block in anatomy.blocks:
        old = network.get_submodule(block.name)
        form = form_of(old)
        assert block.attention is not None and form is not None
        attention = _attention(network, block.attention)
        found.append(MergingBlock(old, form, attention, prefix, weighted))
        replace_module(network, block.name, found[-1])
    found[-1].is_last = True
    return found


def _attention(network: nn.Module, attention: Attention) -> MergingAttention:
    """The attention by the same modules; torch's own is given a layer for the matrix that it keeps."""
    module: Any = network.get_submodule(attention.module)
    output = attention.output.module.rpartition(".")[2]
    parts = (attention.query, attention.key, attention.value)
    if attention.query.called:
        maps = {part.module.rpartition(".")[2]: network.get_submodule(part.module) for part in parts}
    else:
        maps = {"in_proj": _as_layer(module)}
    norms = ("q_norm", "k_norm") if attention.normed else None
    maps |= {name: module.get_submodule(name) for name in norms or ()}
    maps[output] = network.get_submodule(attention.output.module)
    return MergingAttention(maps, output, attention.heads, norms)


def _as_layer(module: nn.MultiheadAttention) -> nn.Linear:
    """The maps of queries, keys and values as one layer, of the same parameters."""
    if not module.batch_first:
        raise NotApplicable("its attention takes the tokens before the samples")
    layer = nn.Linear(module.embed_dim, 3 * module.embed_dim, bias=module.in_proj_bias is not None, device="meta")
    assert module.in_proj_weight is not None
    layer.weight = module.in_proj_weight
    layer.bias = module.in_proj_bias
    return layer


def _draw(block: MergingBlock, mergeable: int, generator: torch.Generator) -> None:
    """Give the block random pairs of so many tokens behind its prefix."""
    device = next(block.parameters()).device
    places = torch.empty(1, block.prefix + mergeable)
    first, second = (half.shape[1] for half in halves(places, block.prefix))
    block.order = torch.randperm(first, generator=generator).to(device)
    block.targets = torch.randint(second, (first,), generator=generator).to(device)
