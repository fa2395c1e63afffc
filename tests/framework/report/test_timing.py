"""A page says how its networks were timed, and what is wrong with the timings."""

from dataclasses import replace

import pytest
from prunebench.records import LatencyProtocol
from prunebench.report import Scope

from tests.framework.report.conftest import page_of, store_results
from tests.framework.report.test_page import grid, seen


def timed(result, protocol=None, flags=()):
    measured = result.measurement
    latency = tuple(replace(one, flags=flags) for one in measured.latency)
    trial = replace(result.trial, protocol=replace(result.trial.protocol, latency=protocol or LatencyProtocol()))
    return replace(result, trial=trial, measurement=replace(measured, latency=latency))


def text_of(folder, results):
    return seen(page_of(store_results(folder, results), Scope("synthetic-1")))


@pytest.mark.parametrize(
    ("protocol", "told"),
    [
        (LatencyProtocol(), "at batch 1.<"),
        (LatencyProtocol(dtype="bfloat16", compile=True), "at batch 1, in bfloat16, compiled.<"),
        (LatencyProtocol(threads=2, rounds=5), "at batch 1, on 2 threads, in 5 fresh processes per pair.<"),
        (LatencyProtocol(memory_format="channels_last"), "at batch 1, in channels_last.<"),
        (LatencyProtocol(memory_format="fastest", in_place=True),
         "at batch 1, each side in its fastest memory format, activations in place.<"),
    ],
)  # fmt: skip
def test_what_is_unusual_in_the_protocol_is_said_first(tmp_path, protocol, told):
    assert f"Timed in pairs with the dense network {told}" in text_of(tmp_path, [timed(r, protocol) for r in grid()])


def test_several_ways_are_told_apart(tmp_path):
    both = [timed(r) for r in grid()] + [timed(r, LatencyProtocol(compile=True)) for r in grid()]
    assert "at batch 1, in 2 ways: as usual; compiled.<" in text_of(tmp_path, both)


def test_flagged_timings_are_to_be_read_with_care(tmp_path):
    dense, pruned = grid()
    results = [timed(dense, flags=("contended",)), timed(pruned, flags=("contended", "few-blocks"))]
    text = text_of(tmp_path / "flagged", results)
    assert "Of 2 timings, in 2 other programs took processor time (contended) and in 1 there was time for fewer" in text
    assert "Of 2 timings" not in text_of(tmp_path / "clean", [timed(dense), timed(pruned)])
