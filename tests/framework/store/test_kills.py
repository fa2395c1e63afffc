"""Killed at any moment, two runs at once, readers all the while: what was acknowledged is there, once."""

from __future__ import annotations

import random
from pathlib import Path

import store_torture


def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    found = store_torture.kills(tmp_path / "results.duckdb", 10, random.Random(0))
    assert found["acknowledged"] > 10
    wrong = ("lost", "twice", "lost_after_rebuild", "twice_after_rebuild", "failed_opens", "unseen_at_once", "damages")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert found["faults"] == []


def test_readers_notice_nothing_of_writers(tmp_path: Path) -> None:
    found = store_torture.crowd(tmp_path / "results.duckdb", 3, random.Random(0))
    assert found["lost"] == found["twice"] == 0
    for name, reader in found["readers"].items():
        assert reader["errors"] == 0, (name, reader["first"])
        assert reader["reads"] > 0
