"""Results of others: taken in whole and with their origin, or refused in one line with nothing taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import store_samples as samples
from click.testing import CliRunner
from prunebench.cli.join import command
from prunebench.errors import StoreError
from prunebench.store import Store, open_results
from prunebench.store.folders import manifest_of, write_tables
from prunebench.store.joining import check, join

ALL = "select * from trials order by all"


def stored(path: Path, run: str, cells, accuracy: float = 0.9, **facts) -> Store:
    """A database with one run."""
    store = Store(path)
    with store.open_run(samples.run(run, **facts)) as journal:
        for rank, seed in cells:
            of = samples.result(samples.trial(rank, seed))
            journal.append(replace(of, measurement=replace(of.measurement, top1_accuracy=accuracy)))
    store.merge()
    return store


def sign(folder: Path, **changes) -> Path:
    """Write the manifest of the files as they are now."""
    (folder / "manifest.json").unlink(missing_ok=True)
    manifest = manifest_of(folder, {"publisher": "somebody"}, {}) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def published(store: Store, folder: Path) -> Path:
    """The tables of a database as a folder."""
    folder.mkdir()
    write_tables(store.path, folder, ())
    return sign(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two strangers' folders: of one trial both have a result, and not the same."""
    place = tmp_path_factory.mktemp("folders")
    a = stored(place / "a.duckdb", "run-a", [(None, 0), (2, 0), (4, 0)], 0.9)
    b = stored(place / "b.duckdb", "run-b", [(None, 0), (4, 0), (8, 1)], 0.8)
    return {"a": published(a, place / "by-a"), "b": published(b, place / "by-b")}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a folder to spoil."""
    return Path(shutil.copytree(folders["a"], tmp_path / "copy"))


def rows(store: Store, sql: str = ALL) -> list[tuple]:
    with open_results(store.path) as results:
        return results.query(sql).rows()


def test_what_is_joined_is_what_was_published(folders: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "mine.duckdb")
    joined = join(store, folders["a"])
    assert joined.report.result_count == joined.offered.new_count == 3
    original = Store(folders["a"].parent / "a.duckdb")
    for view in ("trials", "layers", "curves", "latency_samples", "comparison", "speedups", "metrics"):
        assert rows(store, f"select * from {view} order by all") == rows(original, f"select * from {view} order by all")
    assert rows(store, "select run_id, origin, publisher from runs") == [("run-a", "by-a", "somebody")]
    again = join(store, folders["a"])
    assert (again.offered.new_count, again.report.result_count) == (0, 0)
    assert store.check() == []
    before = rows(store)
    store.rebuild()
    assert rows(store) == before and rows(store, "select origin from runs") == [("by-a",)]


def test_two_folders_give_the_same_rows_in_any_order(folders: dict[str, Path], tmp_path: Path) -> None:
    """Both have a result of one trial from the same second: which stands must not depend on the order."""
    made = []
    for order in ("ab", "ba"):
        store = Store(tmp_path / f"{order}.duckdb")
        differing = [join(store, folders[name]).offered.differing for name in order]
        assert [len(found) for found in differing] == [0, 2]
        made.append([rows(store, f"select * from {view} order by all") for view in ("trials", "attempts", "runs")])
        assert rows(store, "select count(*) from attempts") == [(6,)]
    assert made[0] == made[1]


def test_check_says_what_there_is_and_writes_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke(command, [str(folders["b"]), "--check", "--db", str(tmp_path / "x.duckdb")])
    assert run.output == "by-b by somebody: 1 runs, 3 trials; sound; new here: 3 results\n"
    assert list(tmp_path.iterdir()) == []


def _cut(folder: Path) -> None:
    file = folder / "tables" / "result.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def _lose(folder: Path) -> None:
    (folder / "tables" / "latency.parquet").unlink()


def _csv(folder: Path) -> None:
    (folder / "tables" / "layer.parquet").write_text("a,b\n1,2\n")
    sign(folder)


def _orphans(folder: Path) -> None:
    """Somebody takes the machines out and signs the rest."""
    shutil.copy(folder / "tables" / "trace.parquet", folder / "tables" / "environment.parquet")
    sign(folder)


def _manifest(**changes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        sign(folder, **changes)

    return change


def _json(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "manifest.json").write_text(text)

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cut, "tables/result.parquet is not the file that was published: changed, or copied in part"),
        (_lose, "tables/latency.parquet is missing: the folder is incomplete"),
        (_csv, "tables/layer.parquet is not Parquet"),
        (_orphans, "environment"),
        (_manifest(schema=999), "published by a newer prunebench"),
        (_manifest(version=2), "published by a newer prunebench"),
        (_manifest(schema="\x1b[31m"), "schema is not a number"),
        (_manifest(files=[{"file": "../../etc/passwd"}]), "is not the name of a file in this folder"),
        (_manifest(files=[{"file": "a\nb"}]), "is not the name of a file in this folder"),
        (_manifest(files={}), "files is not a list"),
        (_manifest(files=[]), "lists no tables/parameter.parquet"),
        (_json("[" * 100_000), "cannot be read as JSON"),
        (_json("{}"), "not the manifest of published results"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_folder_that_is_not_sound_is_refused_whole(copy: Path, tmp_path: Path, spoil, said: str) -> None:
    spoil(copy)
    store = stored(tmp_path / "mine.duckdb", "run-mine", [(2, 7)])
    before, files = rows(store), sorted(store.folder.iterdir())
    with pytest.raises(StoreError) as caught:
        join(store, copy)
    assert said in str(caught.value) and "\n" not in str(caught.value).strip()
    assert (rows(store), sorted(store.folder.iterdir())) == (before, files)


def test_one_attempt_with_two_results_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """The run's name and attempt are the same and the numbers are not: one of the two was changed."""
    store = stored(tmp_path / "mine.duckdb", "run-a", [(4, 0)], accuracy=0.7)
    with pytest.raises(StoreError, match=r"have other numbers there, trial .* nothing is imported"):
        check(folders["a"], store.path)


def test_a_database_file_is_joined_and_other_files_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "mine.duckdb")
    source = folders["a"].parent / "a.duckdb"
    assert join(store, source).report.result_count == 3
    assert rows(store, "select origin from runs") == [("a.duckdb",)]
    (tmp_path / "x.csv").write_text("a\n")
    (tmp_path / "x.txt").write_text("a\n")
    for name in ("x.csv", "x.txt", "none", str(folders["a"].parent)):
        with pytest.raises(StoreError):
            join(store, tmp_path / name)


def test_names_of_strangers_reach_no_terminal_raw(tmp_path: Path) -> None:
    evil = 'x\x1b[31m\u202e"; drop table run; --'
    folder = published(stored(tmp_path / "a.duckdb", "run-a", [(2, 0)], name=evil), tmp_path / evil.replace("/", ""))
    sign(folder, publisher=evil)
    run = CliRunner().invoke(command, [str(folder), "--db", str(tmp_path / "x.duckdb")])
    assert run.exit_code == 0 and not set(run.output) & set("\x1b\u202e")
    assert rows(Store(tmp_path / "x.duckdb"), "select publisher, origin, run_name from runs") == [(evil, evil, evil)]
