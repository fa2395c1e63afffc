"""Targets solved on a method's closed form."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from prunebench import LayerCounts, LayerShape, Method, NotApplicable, param
from prunebench.trial.targets import DenseCounts, ratios, solved, totals

SHAPES = (LayerShape("a", "linear", 200, 300), LayerShape("b", "linear", 10, 200))
DENSE = DenseCounts(sum(s.parameter_count for s in SHAPES) + 50, sum(s.mac_count for s in SHAPES))


@dataclass(frozen=True)
class Rank(Method):
    """Two factors a layer, where that is smaller."""

    name = "rank"
    knob = "rank"
    rank: int | None = param(None, "components", at_least=1)

    def counts(self, shapes):
        return [self._layer(s) for s in shapes]

    def _layer(self, s):
        macs = self.rank * (s.in_channels + s.out_channels)
        if macs >= s.weight_count:
            return LayerCounts.unchanged(s, "saves nothing")
        return LayerCounts(s.name, macs + s.out_channels, macs + s.out_channels, macs, self.rank)

    def prune(self, network, task):
        return network


def test_totals_count_what_is_in_no_layer():
    assert totals(Rank(1).counts(SHAPES), SHAPES, DENSE) == (500 + 200 + 210 + 10 + 50,) * 2 + (710,)


@pytest.mark.parametrize("wanted", [1.5, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("name", ["compression", "theoretical_speedup"])
def test_a_whole_knob_comes_as_close_as_it_can(name, wanted):
    value = solved(Rank, {"rank": None}, {name: wanted}, SHAPES, DENSE)
    errors = {rank: abs(ratios(Rank(rank).counts(SHAPES), SHAPES, DENSE)[name] / wanted - 1) for rank in range(1, 300)}
    assert isinstance(value, int) and errors[value] <= min(errors.values()) * 1.2 + 0.02


def test_out_of_reach_is_declined_with_the_nearest():
    with pytest.raises(NotApplicable, match=r"compression 1000 is out of reach: the nearest is [\d.]+ at rank 1"):
        solved(Rank, {"rank": None}, {"compression": 1000.0}, SHAPES, DENSE)


def test_a_speedup_of_unknown_macs_is_declined_and_a_compression_solved():
    unknown = DenseCounts(DENSE.parameter_count, None)
    with pytest.raises(NotApplicable, match="operators whose MACs are not known"):
        solved(Rank, {"rank": None}, {"theoretical_speedup": 4.0}, SHAPES, unknown)
    assert solved(Rank, {"rank": None}, {"compression": 4.0}, SHAPES, unknown) == solved(
        Rank, {"rank": None}, {"compression": 4.0}, SHAPES, DENSE
    )
