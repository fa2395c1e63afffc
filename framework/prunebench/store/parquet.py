"""A query's rows as a Parquet file that every reader understands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.writing import quoted, quoted_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Written:
    """What went into a file: names and DuckDB's types of the columns, and how many rows."""

    columns: tuple[tuple[str, str], ...]
    row_count: int


def write_parquet(connection: DuckDBPyConnection, sql: str, path: Path, order: str = "") -> Written:
    """Write the rows of the select `sql`; JSON as text, for other readers take Parquet's JSON type for bytes."""
    columns = tuple((name, kind) for name, kind, *_ in connection.execute(f"describe {sql}").fetchall())
    texts = [f"cast({quoted_name(name)} as varchar) as {quoted_name(name)}" for name, kind in columns if kind == "JSON"]
    as_text = f"select * replace ({', '.join(texts)}) from ({sql})" if texts else sql
    connection.execute(f"copy ({as_text} {order}) to {quoted(str(path))} (format parquet, compression zstd)")
    row = connection.execute(f"select count(*) from ({sql})").fetchone()
    return Written(columns, row[0] if row else 0)
