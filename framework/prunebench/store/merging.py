"""A merge: journal tails into a working copy, a transaction a piece, then the copy is published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.store import database as db
from prunebench.store.ingest import ingest
from prunebench.store.journal import Tail, read_tails
from prunebench.store.publish import mark_published, publish, working_copy
from prunebench.store.recovery import count_beside, recover, tell
from prunebench.store.taking import import_database, imports_of
from prunebench.store.views import build_views, fingerprint

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from prunebench.store.merger import MergeReport

BULK_BYTES = 64 << 20  # of journals without a database: a rebuild, not a merge while a run goes on


def merge_into(database: Path, journals: list[Path], report: MergeReport) -> bool:
    """Bring `database` up to date with its journals; False where it is already. The merge lock is held."""
    published_count = 0
    if database.exists():
        published_count, has_news = _look_at_published(database, journals, report)
        if not has_news:
            return False
    work = working_copy(database)
    connection = db.connect(**_threads(journals, database))
    try:
        _open_work(connection, work, database)
        _take_news(connection, database, journals, report)
        report.result_count = db.result_count(connection) - published_count
        report.notes += db.mixed_networks(connection)
        connection.execute("checkpoint")
        connection.execute("use memory")
        connection.execute("detach work")
    except BaseException:
        connection.close()
        for leftover in (work, work.with_name(f"{work.name}.wal")):
            leftover.unlink(missing_ok=True)
        raise
    connection.close()
    publish(work, database)
    mark_published(database, published_count + report.result_count)
    return True


def _threads(journals: list[Path], database: Path) -> dict[str, int]:
    """One thread: each more keeps memory, by which a long run grew, and takes a core from what is measured."""
    is_bulk = not database.exists() and sum(path.stat().st_size for path in journals) > BULK_BYTES
    return {} if is_bulk else {"threads": 1}


def _look_at_published(database: Path, journals: list[Path], report: MergeReport) -> tuple[int, bool]:
    """How many results are published, and whether there is anything to add."""
    connection = db.connect(threads=1)
    try:
        db.attach(connection, database, "published")
        old = db.schema_of(connection, "published", database) < db.SCHEMA
        marks = db.watermarks(connection, "published")
        connection.execute("use published")
        stale = db.get_meta(connection, "views") != fingerprint(connection)
        count = db.result_count(connection)
    finally:
        connection.close()
    sizes = {path: path.stat().st_size - marks.get(path.name, (0, 0))[0] for path in journals}
    for path in (path for path, size in sizes.items() if size < 0):
        report.notes.append(f"{path}: shorter than when it was merged; its lost lines are in the database")
    imported = any(path.name not in marks for path in imports_of(database))
    return count, old or stale or imported or any(size > 0 for size in sizes.values())


def _open_work(connection: DuckDBPyConnection, work: Path, database: Path) -> None:
    fresh = not work.exists()
    db.attach(connection, work, "work", read_only=False)
    version = 0 if fresh else db.schema_of(connection, "work", database)
    connection.execute("use work")
    db.migrate(connection, version)


def _take_news(connection: DuckDBPyConnection, database: Path, journals: list[Path], report: MergeReport) -> None:
    marks = db.watermarks(connection, "work")
    for path in imports_of(database):
        if path.name not in marks:
            _take_import(connection, path, database, report)
    for path in journals:
        offset, lines = marks.get(path.name, (0, 0))
        if path.stat().st_size <= offset:
            continue
        for tail in read_tails(path, offset, lines):
            _take(connection, tail)
            report.damages += tail.damages
            report.notes += [f"{path}: {tail.stopped}"] if tail.stopped else []
            report.torn += [path.name] if tail.torn_bytes else []
    connection.execute("begin")
    mark = fingerprint(connection)
    if db.get_meta(connection, "views") != mark:
        build_views(connection)
        db.set_meta(connection, "views", mark)
    connection.execute("commit")


def _take_import(connection: DuckDBPyConnection, path: Path, database: Path, report: MergeReport) -> None:
    """A copy of another database; of a damaged one what can be read, for it must not keep the journals waiting."""
    try:
        import_database(connection, path)
    except db.DamagedDatabase:
        recovered = recover(path, database, count_beside(path))
        tell(recovered, str(path), report)
        if recovered.kept:
            import_database(connection, recovered.kept)


def _take(connection: DuckDBPyConnection, tail: Tail) -> None:
    """The rows of `tail` and its watermark, in one transaction."""
    connection.execute("begin")
    ingest(connection, tail)
    for damage in tail.damages:
        values = [damage.journal, damage.line, damage.offset, damage.what]
        connection.execute("insert into damage values (?, ?, ?, ?)", values)
    connection.execute("delete from journal where name = ?", [tail.name])
    connection.execute("insert into journal values (?, ?, ?)", [tail.name, tail.end, tail.line_count])
    connection.execute("commit")
