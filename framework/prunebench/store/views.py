"""The documented views: packaged SQL, in which every swept parameter becomes a real column of its type."""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from prunebench.records import COUNTING_RULE
from prunebench.store.ingest import joined_kind, statements
from prunebench.writing import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BASE_FILES = ("00_macros.sql", "05_labels.sql")  # what the views are made with
FILES = ("10_trials.sql", "20_speedups.sql", "30_means.sql", "40_comparison.sql", "50_details.sql")
COLUMN_LIMIT = 200
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
CHOICE = ("dataset", "dataset_label", "model", "model_label", "method", "method_label", "setting", "params")
_CHOICE = re.compile(r"\$choice\((\w+)\)")
_PARAMETERS = re.compile(r"\$parameters\((\w+)\)")
_NAME = re.compile(r"create or replace view (\w+) as\s")


def build_views(connection: DuckDBPyConnection, comments: bool = True) -> None:
    """Create or replace every macro and view in the current schema."""
    columns = parameter_columns(connection)
    for sql in _generated(tuple(columns.items())):
        connection.execute(sql)
    if comments:
        _comment(connection, set(columns.values()))


@lru_cache(maxsize=8)
def _generated(columns: tuple[tuple[tuple[str, str], str], ...]) -> tuple[str, ...]:
    """The SQL of all macros and views, with a column for each of `columns`."""
    made = dict(columns)
    base = [sql for file in BASE_FILES for sql in statements(f"views/{file}")]
    return (_settings_view(made), *(_filled(sql, made) for sql in [*base, *view_statements().values()]))


@cache
def view_statements() -> dict[str, str]:
    """Name -> SQL of the documented views, in the order in which they are created."""
    written = [sql for file in FILES for sql in statements(f"views/{file}")]
    found = [_CHOICE.sub(lambda m: ",\n    ".join(f"{m[1]}.{name}" for name in CHOICE), sql) for sql in written]
    return {_view_name(sql): sql for sql in found}


def fingerprint(connection: DuckDBPyConnection) -> str:
    """A hash of all that decides the views: when it changes they are built anew."""
    text = repr((_generated(tuple(parameter_columns(connection).items())), _comments_text()))
    return hashlib.sha256(text.encode()).hexdigest()


def parameter_columns(connection: DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """(swept parameter, type) -> its column's name; others are found in `params` alone."""
    kinds: dict[str, set[str]] = {}
    for name, kind in connection.execute("select name, kind from parameter order by name").fetchall():
        kinds.setdefault(name, set()).add(kind)
    taken = {column for view in view_statements() for column in _fixed_columns(view)}
    columns: dict[tuple[str, str], str] = {}
    for name in sorted(kinds, key=lambda name: (name.lower(), name != name.lower(), name)):
        if not _COLUMN.fullmatch(name) or len(columns) == COLUMN_LIMIT:
            continue
        column = name if name.lower() not in taken else f"param_{name}"
        if column.lower() not in taken:
            taken.add(column.lower())
            columns[name, joined_kind(kinds[name])] = column
    return columns


def _settings_view(columns: dict[tuple[str, str], str]) -> str:
    typed = [
        f", try_cast(parameters ->> '$.{name}' as {kind}) as \"param:{column}\""
        for (name, kind), column in columns.items()
    ]
    return f"create or replace view settings as select *{''.join(typed)} from choice"


def _filled(sql: str, columns: dict[tuple[str, str], str]) -> str:
    """`sql` with the swept parameters' columns: hidden ones (`param:rank`) in the base views, plain ones above."""
    typed = "".join(f', method."param:{column}"' for column in columns.values())
    plain = "".join(f', "param:{column}"' for column in columns.values())
    solved = "".join(
        f', coalesce(try_cast(r.solved ->> \'$.{name}\' as {kind}), c."param:{column}") as "param:{column}"'
        for (name, kind), column in columns.items()
    )
    sql = sql.replace("$counting_rule", str(COUNTING_RULE))
    sql = sql.replace("$typed", typed).replace("$plain", plain).replace("$solved", solved)
    return _PARAMETERS.sub(lambda m: "".join(f', {m[1]}."param:{c}" as "{c}"' for c in columns.values()), sql)


@cache
def _fixed_columns(view: str) -> frozenset[str]:
    """Columns that a view has whatever was swept, in lower case."""
    select = view_statements()[view].rsplit("\nselect", 1)[-1].split("\nfrom", 1)[0]
    names = re.findall(r"(?:\bas |\b\w+\.|^    )(\w+),?$", select, flags=re.MULTILINE)
    return frozenset(name.lower() for name in names)


def _view_name(sql: str) -> str:
    match = _NAME.match(sql)
    assert match, sql[:80]
    return match[1]


def _comment(connection: DuckDBPyConnection, parameters: set[str]) -> None:
    texts = column_comments()
    for view, text in texts["view"].items():
        connection.execute(f"comment on view {view} is {quoted(text)}")
    listed = connection.execute(
        "select table_name, column_name from duckdb_columns() "
        "where database_name = current_database() and table_name in (select unnest(?))",
        [list(texts["view"])],
    ).fetchall()
    for view, column in listed:
        text = texts.get(view, {}).get(column) or texts["column"].get(column, "")
        if not text and column in parameters:
            text = "parameter of the method, as asked for or, for a target, as solved"
        if text:
            connection.execute(f'comment on column {view}."{column}" is {quoted(text)}')


@cache
def column_comments() -> dict[str, dict[str, str]]:
    """What each view and column means, with its unit."""
    return tomllib.loads(_comments_text())


@cache
def _comments_text() -> str:
    return resources.files("prunebench.store").joinpath("views/comments.toml").read_text(encoding="utf-8")
