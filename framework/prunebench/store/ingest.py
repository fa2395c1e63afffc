"""Journal lines into tables: parsed and filed by SQL, a batch at a time, without a Python object a row."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from prunebench.store.journal import Tail
from prunebench.store.line_schema import RESULT_SHAPE, RUN_SHAPE
from prunebench.store.sample_values import add_value_pairs, add_values
from prunebench.writing import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

KINDS = {"BIGINT": "bigint", "UBIGINT": "bigint", "DOUBLE": "double", "BOOLEAN": "boolean", "VARCHAR": "varchar"}


def ingest(connection: DuckDBPyConnection, tail: Tail, to: str = "") -> None:
    """File the tail's runs and results into the tables of schema `to` (empty: the current one)."""
    _add_runs(connection, tail.runs, to)
    if not tail.results:
        return
    connection.execute(
        "create or replace temp table line as "
        "select row_number() over () as position, body from (select unnest(string_split(?, chr(10))) as body)",
        ["\n".join(tail.results)],
    )
    for statement in statements("ingest.sql"):
        connection.execute(
            statement.replace("$shape", quoted(json.dumps(RESULT_SHAPE))).replace("into to.", f"into {to}")
        )
    add_values(connection, to)
    _add_pairs(connection, to)
    remember_parameters(connection, to)
    for table in ("line", "incoming", "chosen", "asked", "relative", "filed", "fresh"):
        connection.execute(f"drop table temp.{table}")


def _add_runs(connection: DuckDBPyConnection, runs: list[str], to: str) -> None:
    """New runs, and the facts of runs that so far were known only by their results."""
    for body in runs:
        (run,) = connection.execute(f"select from_json(?, {quoted(json.dumps(RUN_SHAPE))})", [body]).fetchone() or (
            None,
        )
        if not run or not run["id"]:
            continue
        known = connection.execute("select id, name from run where run_id = ?", [run["id"]]).fetchone()
        if known and (known[1] or to):
            continue
        if known:
            connection.execute("delete from run where id = ?", [known[0]])
        number = known[0] if known else _one(connection, "select coalesce(max(id), 0) + 1 from run")
        _insert_run(connection, number, run, to)


def _insert_run(connection: DuckDBPyConnection, number: int, run: dict[str, Any], to: str) -> None:
    values = (number, run["id"], run["name"] or run["id"], run["scale"] or "", run["started_at"] or None)
    connection.execute(
        f"insert into {to}run values (?, ?, ?, ?, try_cast(? as timestamp), ?, ?, ?, ?, ?)",
        [*values, run["command"] or "", run["grid"] or "", run["trial_count"], run["claims"], run["options"]],
    )
    if run["trial_ids"]:
        text = "\n".join(run["trial_ids"])
        connection.execute(f"insert into {to}run_trial select ?, unnest(string_split(?, chr(10)))", [number, text])


def _add_pairs(connection: DuckDBPyConnection, to: str) -> None:
    """Which test samples both networks of a pair got right, counted from the bitmaps, once a pruned result.

    Dense and pruned results arrive in either order, so a new dense one is paired with what waits for it.
    """
    rows = connection.execute(_PAIRED.format(pruned=_NEW)).fetchall()
    if _one(connection, "select count(*) from fresh where r.keys.is_dense and r.result.status = 'ok'"):
        rows += connection.execute(_PAIRED.format(pruned=_WAITING)).fetchall()
    if not rows:
        return
    ids = ", ".join(str(int(number)) for number in {number for row in rows for number in row[:2]})
    connection.execute(
        _COUNTS.replace("into to.", f"into {to}").replace("$ids", ids),
        [
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
        ],
    )
    add_value_pairs(connection, rows, ids, to)


_PAIRED = """
    select p.id, d.id, p.dense_hash = d.dense_hash
    from ({pruned}) as p
    join result as d on d.baseline = p.baseline and d.is_dense and d.status = 'ok'
    where d.baseline in (select baseline from fresh)
    qualify row_number() over (
        partition by p.id
        order by p.dense_hash is not distinct from d.dense_hash desc, p.run = d.run desc, d.started_at desc, d.id desc
    ) = 1
"""
_NEW = """
    select id, baseline, run, nullif(r.result.provenance.dense_hash, '') as dense_hash
    from fresh
    where not r.keys.is_dense and r.result.status = 'ok'
"""
_WAITING = """
    select id, baseline, run, dense_hash
    from result
    where not is_dense and status = 'ok' and id not in (select result from pair) and id not in (select id from fresh)
        and baseline in (select baseline from fresh where r.keys.is_dense and r.result.status = 'ok')
"""

_COUNTS = """
    insert into to.pair
        (result, dense_result, same_weights, both_count, dense_only_count, pruned_only_count)
    with waiting as (select unnest(?::bigint[]) as pruned, unnest(?::bigint[]) as dense, unnest(?::boolean[]) as same),
    bits as materialized (select result, correct::bit as correct from prediction where result in ($ids))
    select
        w.pruned, w.dense, w.same, bit_count(d.correct & p.correct), bit_count(d.correct & ~p.correct),
        bit_count(~d.correct & p.correct)
    from waiting as w
    join bits as p on p.result = w.pruned
    join bits as d on d.result = w.dense
    where bit_length(p.correct) = bit_length(d.correct)
    order by w.pruned
"""


def remember_parameters(connection: DuckDBPyConnection, to: str) -> None:
    """Remember each swept parameter's name with the narrowest type that holds all its values."""
    known = dict(connection.execute("select name, kind from parameter").fetchall())
    for name, types in connection.execute("from asked order by name").fetchall():
        kinds = {KINDS.get(kind, "varchar") for kind in types if kind != "NULL"}
        kind = joined_kind(kinds | ({known[name]} if name in known else set()))
        if kind and kind != known.get(name):
            if name in known and not to:
                connection.execute("delete from parameter where name = ?", [name])
            connection.execute(f"insert into {to}parameter values (?, ?)", [name, kind])


def joined_kind(kinds: set[str]) -> str:
    """The type that holds values of all `kinds`; empty for none."""
    if len(kinds) > 1:
        return "double" if kinds == {"bigint", "double"} else "varchar"
    return next(iter(kinds), "")


def mark_superseded(connection: DuckDBPyConnection, among: str = "select id from result") -> None:
    """Note the attempts that another attempt at the same trial stands for, where `among` (SQL) are results of it."""
    (statement,) = statements("superseded.sql")
    connection.execute(statement.replace("$among", among))


@cache
def statements(name: str) -> tuple[str, ...]:
    """The statements of a packaged SQL file."""
    text = resources.files("prunebench.store").joinpath(name).read_text(encoding="utf-8")
    without_comments = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return tuple(part.strip() for part in re.split(r";\s*$", without_comments, flags=re.MULTILINE) if part.strip())


def _one(connection: DuckDBPyConnection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    return row[0] if row else None
