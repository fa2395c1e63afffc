"""What is in no layer that methods act on is listed with its reason, and all rows together are the whole network."""

from __future__ import annotations

import copy

import torch
from prunebench.measure.counts import layer_shapes
from prunebench.measure.layers import layer_records
from prunebench.measure.other_layers import other_records
from prunebench.records import LayerRecord
from torch import Tensor, nn


class Reader(nn.Module):
    """An embedding whose weight is read by the head as well, attention, a norm, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.mlp, self.gate = nn.LayerNorm(8), nn.Linear(8, 8), nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.attention(x, x, x)[0]
        return self.head(self.norm(x) + self.gate * self.mlp(x)).mean(1)


def rows_of(dense: nn.Module, pruned: nn.Module, x: Tensor) -> dict[str, LayerRecord]:
    shapes = layer_shapes(dense, x)
    listed = [shape.name for shape in shapes]
    found = [*layer_records(dense, pruned, {}, x, shapes), *other_records(dense, pruned, listed, {})]
    assert len({row.name for row in found}) == len(found)
    return {row.name: row for row in found}


def test_all_rows_together_are_the_whole_network_and_say_why() -> None:
    network, x = Reader().eval(), torch.randint(0, 11, (4, 5))
    rows = rows_of(network, copy.deepcopy(network), x)
    by_hand = {"embed": None, "attention": 3 * 8 * 8 + 3 * 8, "attention.out_proj": 72, "norm": 16, "(the network)": 8}
    found = {name: row.parameter_count_before for name, row in rows.items()}
    assert found == {"mlp": 72, "head": 88, **{name: count for name, count in by_hand.items() if count}}
    assert sum(found.values()) == sum(value.numel() for value in network.parameters())
    assert rows["attention"].kind == "MultiheadAttention"
    assert rows["attention"].left_alone == "parameters of MultiheadAttention: no linear layer or 2-D convolution"
    assert rows["attention.out_proj"].left_alone.startswith("never called")
    assert rows["head"].left_alone not in ("", "unchanged")


def test_what_a_method_takes_from_them_is_no_longer_left_alone() -> None:
    network, x = Reader().eval(), torch.randint(0, 11, (4, 5))
    pruned = copy.deepcopy(network)
    with torch.no_grad():
        pruned.attention.in_proj_weight[:8] = 0
    rows = rows_of(network, pruned, x)
    assert rows["attention"].left_alone == "" and rows["norm"].left_alone
    assert (rows["attention"].parameter_count_after, rows["attention"].nonzero_parameter_count_after) == (216, 128)
