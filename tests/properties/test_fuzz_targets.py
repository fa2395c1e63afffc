"""The fuzzers' own checks, over what they begin with and some random bytes: `just fuzz` goes on from there."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "fuzz"))

import fuzz_grid  # noqa: E402
import fuzz_journal  # noqa: E402

words = st.sampled_from(fuzz_grid.WORDS) | st.sampled_from(list("[]{}=,\n\"'"))
pieces = st.lists(words | st.text(max_size=8), max_size=30)


@pytest.mark.parametrize("path", sorted((ROOT / "grids").glob("*.toml")), ids=lambda path: path.name)
def test_every_bundled_grid_passes(path: Path) -> None:
    fuzz_grid.one(path.read_bytes())


@given(pieces.map("".join).map(lambda text: text.encode(errors="replace")) | st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_random_words_are_a_grid_or_one_line(data: bytes) -> None:
    fuzz_grid.one(data)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_lines_and_damages_that_add_up(data: bytes) -> None:
    fuzz_journal.outcomes(data)


def test_a_real_journal_adds_up_wherever_it_is_cut(tmp_path: Path) -> None:
    fuzz_journal.samples_of(tmp_path)
    whole = (tmp_path / "whole").read_bytes()
    for cut in range(0, len(whole), 97):
        fuzz_journal.outcomes(whole[:cut])
