"""A paper's files: texts, and published numbers as rows or as SQL."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from prunebench.errors import DataError
from prunebench.writing import quoted, quoted_name

PLACEHOLDER = "$published"
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def paper_text(path: Path) -> str:
    """The text of one of a paper's files; raises `DataError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def published_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of the CSV file at `path`; raises `DataError` naming a missing column or the line that does not fit."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [_checked(row, path, reader.line_num) for row in reader]
            header = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(header) or 'none'}")
    if not rows:
        raise DataError(f"{path} has no rows: published numbers are expected there")
    return rows


def _checked(row: dict[str, str], path: Path, line: int) -> dict[str, str]:
    if None in row or None in row.values():
        raise DataError(f"{path}:{line}: the line must have one value per column of the header")
    return row


def with_published(sql: str, rows: Sequence[dict[str, str]]) -> str:
    """`sql` with the rows instead of `$published`, as a select; columns of numbers alone are numbers there."""
    names = list(rows[0])
    numeric = {name for name in names if all(NUMBER.fullmatch(row[name]) for row in rows if row[name])}
    lines = ",\n".join(f"({', '.join(_literal(row[name], name in numeric) for name in names)})" for row in rows)
    return sql.replace(PLACEHOLDER, f"select * from (values\n{lines}) as t({', '.join(map(quoted_name, names))})")


def _literal(text: str, numeric: bool) -> str:
    if not text:
        return "null"
    if numeric:
        return f"{text}e0" if "." in text else text  # a double, where DuckDB would make a decimal
    return quoted(text)
