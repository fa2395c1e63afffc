"""Results of another database, taken over whole: a copy of its file is kept among the journals, as their equal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.store.journal import folder_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def imports_of(database: Path) -> list[Path]:
    """The databases that were taken over, by name."""
    return sorted(folder_of(database).glob("import-*.duckdb"))


def import_database(connection: DuckDBPyConnection, path: Path) -> int:
    """Take over the results of `path` that the current database lacks; how many."""
    raise NotImplementedError
