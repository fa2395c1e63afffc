"""Made-up results, and stores in temporary folders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prunebench.records import Result, Run
from prunebench.store import Journal, Results, Store

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import store_samples as samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "results.duckdb")


Fill = Callable[..., Store]


@pytest.fixture
def fill(store: Store) -> Fill:
    """`fill(result, …)` appends results to a run's journal and merges."""

    def append(*results: Result, run: Run | None = None, merge: bool = True) -> Store:
        record = run or samples.run(f"run-{len(store.journals()) + 1}")
        with store.open_run(record) as journal:
            for result in results:
                journal.append(result)
        if merge:
            store.merge()
        return store

    return append


@pytest.fixture
def journal(store: Store) -> Iterator[Journal]:
    """An open journal of the store."""
    with store.open_run(samples.run()) as opened:
        yield opened


@pytest.fixture
def results(store: Store) -> Iterator[Results]:
    """The store's results, for queries."""
    with Results(store.path) as opened:
        yield opened
