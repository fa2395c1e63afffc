"""Our own queries run in this process; their answers are those of a sealed process, value for value."""

from __future__ import annotations

from pathlib import Path

import pytest
import store_samples as samples
from prunebench.errors import QueryError, StoreError
from prunebench.store import Store
from prunebench.store.answers import own_queries, own_query
from prunebench.store.sealed_client import sealed_query

KINDS = {
    "whole numbers": "select 1::tinyint as a, 9223372036854775807 as b, 1::hugeint << 100 as c, -1::hugeint as d",
    "decimals": "select 1.5::decimal(9, 2) as a, 1e300 as b, 'nan'::double as c",
    "times": "select timestamp '2026-01-02 03:04:05.5' as a, date '2026-01-02' as b, interval 3 days as c",
    "times of a zone": "select timestamptz '2026-01-02 03:04:05+02' as a",
    "nested": "select [1, 2] as a, {'x': 1, 'y': ['u']} as b, map {'k': 2.5} as c",
    "bytes and none": r"select '\xAA'::blob as a, null as b, true as c, uuid '0123456789abcdef0123456789abcdef' as d",
    "stored rows": "select * from trials order by trial_id",
    "a plan": "explain select count(*) from trials",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published file with an unmerged tail."""
    store = Store(tmp_path_factory.mktemp("answers") / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        for rank in (None, 2, 4):
            journal.append(samples.result(samples.trial(rank)))
        store.merge()
        journal.append(samples.result(samples.trial(8)))
    return store.path


@pytest.mark.parametrize("sql", KINDS.values(), ids=KINDS)
def test_an_answer_is_the_sealed_one(database: Path, sql: str) -> None:
    own, sealed = own_query(database, sql), sealed_query(database, sql)
    assert own.columns == sealed.columns and own.types == sealed.types and own.columns
    assert repr(own.rows) == repr(sealed.rows) and own.rows  # repr: nan is not equal to itself


def test_the_tail_is_read_and_the_rows_end_at_the_limit(database: Path) -> None:
    counted, cut = own_queries(database, ["select count(*) from trials", "select trial_id from trials"], row_limit=3)
    assert counted.rows == [[4]] and not counted.is_cut
    assert len(cut.rows) == 3 and cut.is_cut


def test_a_file_can_be_written_right_after(database: Path) -> None:
    own_query(database, "select 1 as a")
    Store(database).merge()
    assert own_query(database, "select count(*) from trials").rows == [[4]]


def test_what_is_wrong_is_said(database: Path, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="nope"):
        own_queries(database, ["select 1", "select nope from trials"])
    with pytest.raises(StoreError, match="no results yet"):
        own_query(tmp_path / "none.duckdb", "select 1")
