"""Damaged databases that were the only place of results: what can be read is saved, what is lost is counted."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest
import store_samples as samples
from prunebench.cli import _status
from prunebench.engine.session import prepare, run
from prunebench.errors import StoreError
from prunebench.store import Store, open_results

BLOCK_BYTES, FIRST_BLOCK = 262144, 3 * 4096
SQL = "select * exclude (started_at) from trials order by trial_id"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four results of two runs, merged."""
    store = Store(tmp_path_factory.mktemp("published") / "results.duckdb")
    for name, seeds in (("first", (0, 1, 2)), ("second", (3,))):
        with store.open_run(samples.run(name)) as journal:
            for seed in seeds:
                journal.append(samples.result(samples.trial(seed=seed)))
    store.merge()
    return store.path


@pytest.fixture
def given(published: Path, tmp_path: Path) -> Store:
    """A copy of the file alone, in a folder of its own."""
    path = tmp_path / "given" / "results.duckdb"
    path.parent.mkdir()
    path.write_bytes(published.read_bytes())
    return Store(path)


def spoil(path: Path, table: str, column: str = "") -> None:
    """Change bytes in a block that DuckDB's own catalog says is the table's."""
    where = "segment_type <> 'VALIDITY'" + (f" and column_name = '{column}'" if column else "")
    with duckdb.connect(str(path), read_only=True) as connection:
        sql = f"select block_id from pragma_storage_info('{table}') where block_id >= 0 and {where} order by block_id"
        block = connection.execute(sql).fetchall()[0][0]
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(FIRST_BLOCK + block * BLOCK_BYTES + 100)
        file.write(os.urandom(64))


def cut(path: Path, size: int = 9000) -> None:
    path.chmod(0o644)
    os.truncate(path, size)


def count(store: Store) -> int:
    with open_results(store.path) as results:
        return int(results.query("select count(*) from trials").item())


def test_results_outlive_the_damage_of_their_details(given: Store, published: Path, capsys) -> None:
    spoil(given.path, "curve")
    assert any("table curve cannot be read" in fault for fault in given.check())
    assert _status(["db", "rebuild", "--db", str(given.path)]) == 1
    said = capsys.readouterr().err
    assert "4 of its results could be read, 0 are lost, and 4 rows of details (curve) are lost" in said
    with open_results(given.path) as ours, open_results(published) as theirs:
        assert ours.query(SQL).equals(theirs.query(SQL))
    (fault,) = given.check()
    assert ".unread-" in fault and "4 rows of details (curve) are lost" in fault
    (unread,) = given.unread()
    unread.unlink()
    assert given.check() == [] and _status(["db", "rebuild", "--db", str(given.path)]) == 0
    assert count(given) == 4, "the copy among the journals is sound"


def test_an_unreadable_machine_costs_its_name_and_no_result(given: Store) -> None:
    spoil(given.path, "environment")
    report = given.rebuild()
    assert count(given) == 4
    assert report.lost and report.lost[0].endswith("0 are lost; what is known of their environment is lost")


def test_damage_of_what_can_be_derived_loses_nothing(given: Store, capsys) -> None:
    spoil(given.path, "parameter")
    assert _status(["db", "rebuild", "--db", str(given.path)]) == 0
    assert "all of its 4 results could be read" in capsys.readouterr().err
    assert given.check() == [] and count(given) == 4
    with open_results(given.path) as results:
        assert results.query("select distinct rank from trials").item() == 4


def test_results_beside_a_bad_stretch_are_saved_and_the_rest_is_counted(given: Store) -> None:
    total = 4 + 8192
    reason = " || ".join(f"md5((i + {place}000000)::varchar)" for place in range(8))
    given.path.chmod(0o644)
    with duckdb.connect(str(given.path)) as connection:
        connection.execute(
            f"insert into result select r.* replace (100 + i as id, r.trial_id || i as trial_id, {reason} as reason) "
            "from result as r, range(8192) as more(i) where r.id = 1"
        )
    spoil(given.path, "result", "reason")
    (line,) = given.rebuild().lost
    saved = count(given)
    assert 2048 <= saved < total
    assert f"{saved} of its results could be read, {total - saved} are lost" in line


def test_a_file_of_which_nothing_is_left_stays_and_the_advice_is_true(given: Store, capsys) -> None:
    spoil(given.path, "result")
    before = given.path.read_bytes()
    assert _status(["db", "rebuild", "--db", str(given.path)]) == 2
    said = capsys.readouterr().err
    assert "no result of it can be read, of 4 and no journal here has them; copy the file again" in said
    assert given.path.read_bytes() == before and given.unread() == []


def test_a_damaged_file_without_journals_is_told_what_helps(given: Store) -> None:
    cut(given.path)
    with pytest.raises(StoreError, match=r"no journal here has its results: copy it again, or let `bench db rebuild`"):
        open_results(given.path)
    with pytest.raises(StoreError, match="no result of it can be read and no journal here has them"):
        given.rebuild()


def test_a_merge_saves_what_a_damaged_given_file_still_has(given: Store, capsys) -> None:
    spoil(given.path, "curve")
    with given.open_run(samples.run("own")) as journal:
        journal.append(samples.result(samples.trial(seed=9)))
    assert _status(["merge", "--db", str(given.path)]) == 1
    assert "4 rows of details (curve) are lost" in capsys.readouterr().err
    assert count(given) == 5
    assert len(given.unread()) == 1 and given.merge().lost == []


def test_a_damaged_copy_among_the_journals_is_counted(given: Store) -> None:
    with given.open_run(samples.run("own")) as journal:
        journal.append(samples.result(samples.trial(seed=9)))
    given.merge()
    (kept,) = given.folder.glob("import-*.duckdb")
    cut(kept)
    assert any("saves what the database and it have" in fault for fault in given.check())
    given.path.unlink()
    (line,) = given.merge().lost
    assert "0 of its results could be read, 4 are lost" in line, "a number beside the copy says how many there were"
    assert count(given) == 1


def test_a_rebuild_with_a_damaged_copy_takes_all_from_the_database(given: Store) -> None:
    with given.open_run(samples.run("own")) as journal:
        journal.append(samples.result(samples.trial(seed=9)))
    given.merge()
    (kept,) = given.folder.glob("import-*.duckdb")
    cut(kept)
    assert given.rebuild().lost == []
    assert count(given) == 5 and given.check() == []


def test_what_only_a_database_of_ours_held_is_saved_or_counted(given: Store) -> None:
    for name, seed in (("a", 10), ("b", 11)):
        with given.open_run(samples.run(name)) as journal:
            journal.append(samples.result(samples.trial(seed=seed)))
    given.merge()
    (given.folder / "a.jsonl").unlink()
    spoil(given.path, "parameter")
    report = given.rebuild()
    assert report.lost == [] and count(given) == 6, "the journal that is gone was read from the damaged file"
    (given.folder / "b.jsonl").unlink()
    cut(given.path)
    with open_results(given.path) as results:
        assert results.query("select count(*) from trials").item() == 5
    (fault,) = given.check()
    assert "1 of its results are in no journal and could not be read" in fault


GRID = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nseed = 0\nmethod = "dense"\n'


def test_a_run_that_finds_results_lost_says_so_and_ends_with_1(given: Store, tmp_path: Path, capfd) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    todo = prepare(grid, db=tmp_path / "none.duckdb").todo
    with given.open_run(samples.run("own")) as journal:
        for trial in todo:
            journal.append(samples.result(trial))
    cut(given.path)
    outcome = run(grid, db=given.path, report=False)
    assert outcome.lost and not outcome.is_clean
    assert "how many are lost nobody can count" in capfd.readouterr().err
    assert count(given) == 1
