"""`docs/schema.md`, written from an empty database: what is documented is what is there."""

from __future__ import annotations

from prunebench.store import database as db
from prunebench.store.ingest import statements
from prunebench.store.views import build_views, column_comments, view_statements

_HEAD = """\
# The results database

Written by `bench db schema`; a test compares it with the code. Query it with `bench query "select …"`, with
`prunebench.open_results("runs/results.duckdb").query("select …")`, or open the file (read-only) with anything that
reads DuckDB: it is replaced as a whole by every merge and never locked.

**Views are the public surface.** They keep their columns: new ones may come, none goes away or changes its meaning, and
a database of an older prunebench opens in a newer one. Tables hold facts as measured and may change with a migration.
Every parameter that a stored trial's method has is a further column, of its own type, at the end of `trials`,
`speedups`, `trial_means`, `speedup_means`, `pareto` and `comparison` (`rank`, `keep`, …; `param_<name>` where the
name is taken; `params ->> 'rank'` works too).
Fractions are in [0, 1]. Numbers that are not finite are null. Times of day are UTC.

## Files

`results.duckdb` is what people query; `results.journal/` beside it is what it is made from.

| file | what it is |
| --- | --- |
| `results.journal/<run>.jsonl` | a run's results, a line each, written before a trial counts as done |
| `results.journal/import-<hash>.duckdb` | another database that `bench merge` took in |
| `results.journal/spare.duckdb` | the file before last, reused by the next merge of a large database; may be deleted |
| `results.duckdb.corrupt-…` | a file that could not be read, set aside before it was rebuilt from the journals |
| `….duckdb.unread-…` | such a file that may have been the only place of results; `bench db check` names it |
| `….duckdb.unread-….txt` | how many of its results could be read and how many are lost |
| `results.journal/import-<hash>.count` | how many results that database had, should it be damaged |

Keep both for `bench db rebuild`; to give results away, `results.duckdb` alone is enough. It is written read-only
(mode 0444): open it with `read_only=True`. Tables that somebody adds to it are gone after the next merge, and while
somebody holds it for writing, merges wait. Queries see the published file and what the journals hold beyond it.
On network file systems the locks and the leases this rests on are untried.
"""

_INNER = """\
### Inner views

The views above are made from these. They are in the file, change without notice, and are not exported.
"""


def schema_markdown() -> str:
    """The documented views column by column, then the tables."""
    connection = db.connect()
    try:
        db.migrate(connection)
        build_views(connection)
        columns = connection.execute(
            "select table_name, column_name, data_type, comment from duckdb_columns() "
            "where schema_name = 'main' and database_name = 'memory' order by table_name, column_index"
        ).fetchall()
    finally:
        connection.close()
    of = {name: [row[1:] for row in columns if row[0] == name] for name in {row[0] for row in columns}}
    parts = [
        _HEAD,
        "## Views",
        *(_view(name, of[name]) for name in view_statements() if name in column_comments()["view"]),
        _INNER,
        *(f"- `{name}`: {text}." for name, text in column_comments()["inner"].items()),
        "",
    ]
    return "\n".join([*parts, "## Tables\n", _tables(), ""])


def _view(name: str, columns: list[tuple[str, str, str | None]]) -> str:
    rows = [f"| `{column}` | {kind.lower()} | {text} |" for column, kind, text in columns if text]
    text = column_comments()["view"][name]
    return "\n".join(
        [
            f"### {name}\n",
            f"{text[0].upper()}{text[1:]}.\n",
            "| column | type | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _tables() -> str:
    """The tables as the migrations make them."""
    sql = ";\n\n".join(
        statement for number in range(1, db.SCHEMA + 1) for statement in statements(f"migrations/{number:04}.sql")
    )
    return f"```sql\n{sql};\n```"
