"""`bench query`."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.cli.options import db_option

if TYPE_CHECKING:
    from prunebench.store.answers import Answer

LEDGER = "ledger"  # a saved query over installed papers, which the store does not know
FORMATS = {  # option -> what it gives, and the endings of files that ask for it
    "csv": ("Comma-separated values.", (".csv",)),
    "json": ("A JSON list of objects.", (".json",)),
    "parquet": ("A Parquet file; give --output or a pipe.", (".parquet", ".pq")),
    "markdown": ("A Markdown table.", (".md", ".markdown")),
    "latex": ("A LaTeX tabular.", (".tex",)),
}


def _format_options(function: Any) -> Any:
    """A flag a format."""
    for name, (text, _) in reversed(FORMATS.items()):
        function = click.option(f"--{name}", f"as_{name}", is_flag=True, help=text)(function)
    return function


@dataclass(frozen=True)
class _Asked:
    """The words of one call."""

    sql: str | None
    saved: str | None
    file: Path | None
    run: str
    form: str  # empty for a table
    output: Path | None
    limit: int | None
    timeout: float
    db: Path


@click.command("query")
@click.argument("sql", required=False)
@click.option("--saved", metavar="NAME", help="A query that comes with prunebench; `--saved list` names them.")
@click.option("--file", "-f", "file", type=click.Path(path_type=Path), help="Read the SQL from a file, - for stdin.")
@click.option("--run", default="", metavar="RUN", help="Only the trials that this run's grid asked for.")
@_format_options
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, in the format of its ending.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Maximum number of rows; default: 1,000 on screen, 1,000,000 in files."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this many seconds.",
)
@db_option
def command(**words: Any) -> int:
    """Ask the results database in SQL: one select over the documented views (docs/schema.md).

    The SQL is the argument, a file, standard input or a saved query. It reads the stored results, also those of a
    run in progress, and nothing else: no files, no network, limited time and memory.
    """
    formats = [name for name in FORMATS if words.pop(f"as_{name}")]
    asked = _Asked(form=_format(formats, words["output"]), **words)
    if asked.saved == "list":
        return _list_saved()
    text = _sql(asked.sql, asked.saved, asked.file, asked.db)
    from prunebench.store.lookup import run_of
    from prunebench.store.sealed_client import sealed_query

    run = run_of(asked.db, asked.run) if asked.run else ""
    limit, form = asked.limit or (1_000_000 if asked.form else 1000), asked.form
    answer = sealed_query(asked.db, text, run=run, row_limit=limit, seconds=asked.timeout, parquet=form == "parquet")
    if form == "parquet":
        _write_bytes(answer.parquet, asked.output)
    elif form:
        _write(_formatted(form, answer.columns, answer.rows), asked.output)
    else:
        from prunebench.cli.tables import print_table
        from prunebench.report.seeds import marked

        print_table(answer.columns, marked(answer.columns, answer.rows))
    _warn(answer, limit)
    return 0


def _format(asked: list[str], output: Path | None) -> str:
    """The format that an option or the file's ending asks for, empty for a table; raises where they disagree."""
    if len(asked) > 1:
        raise click.UsageError(f"one format at a time: {' and '.join(f'--{name}' for name in asked)} are given")
    ending = output.suffix.lower() if output else ""
    named = next((name for name, (_, endings) in FORMATS.items() if ending in endings), "")
    if asked and named and asked[0] != named:
        raise click.UsageError(f"{output}: the ending says {named}, --{asked[0]} says {asked[0]}; give one of them")
    if output and ending and not asked and not named:
        known = ", ".join(end for _, endings in FORMATS.values() for end in endings)
        raise click.UsageError(f"{output}: no format has the ending {ending}; give one of {known}, or an option")
    return asked[0] if asked else named or ("csv" if output else "")


def _warn(answer: Answer, limit: int) -> None:
    """Say on standard error what the rows do not: that there are more of them, that some rest on one seed."""
    from prunebench.report.seeds import caution, counted

    told = caution(counted(answer.columns, answer.rows), "row")
    cut = f"only the first {limit:,} rows; --limit shows more" if answer.is_cut else ""
    for line in filter(None, (cut, told)):
        click.echo(f"bench: {line}", err=True)


def _sql(sql: str | None, saved: str | None, file: Path | None, db: Path) -> str:
    """The text from the one source that was given."""
    if sum(source is not None for source in (sql, saved, file)) > 1:
        raise click.UsageError("give the SQL once: as an argument, with --file or with --saved")
    if saved == LEDGER:
        from prunebench.cli.ledger import ledger_sql

        return ledger_sql(db)
    if saved is not None:
        from prunebench.store.queries import saved_query

        return saved_query(saved)
    if sql is not None and sql != "-":
        return _utf8(sql)
    if file is not None and str(file) != "-":
        return _read(file)
    if sys.stdin.isatty():
        raise click.UsageError('no SQL; try: bench query "select * from trials limit 5"')
    return sys.stdin.read()


def _utf8(argument: str) -> str:
    """An argument as it was typed, also where the locale is one of ASCII; one of other bytes stays as it is."""
    with contextlib.suppress(UnicodeError):
        return os.fsencode(argument).decode("utf-8")
    return argument


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: cannot be read: {error}") from None


def _list_saved() -> int:
    from prunebench.cli.tables import print_table
    from prunebench.store.queries import saved_queries

    ours = {LEDGER: "Published numbers of installed papers beside ours, with verdicts; see bench ledger."}
    print_table(("name", "what it shows"), sorted({**saved_queries(), **ours}.items()))
    return 0


def _formatted(form: str, columns: list[str], rows: list[list[object]]) -> str:
    from prunebench.cli import tables
    from prunebench.report.seeds import marked
    from prunebench.store.plain import csv_text

    match form:
        case "csv":
            return csv_text(columns, rows)
        case "json":
            return tables.json_text(columns, rows) + "\n"
        case "markdown":
            return tables.markdown_text(columns, marked(columns, rows))
        case _:
            return tables.latex_text(columns, marked(columns, rows))


def _write(text: str, output: Path | None) -> None:
    if output is None and sys.stdout.isatty():
        text = "\n".join(map(_for_terminal, text.split("\n")))
    if output is None:
        click.echo(text, nl=False)
    else:
        _write_bytes(text.encode(), output)


def _for_terminal(line: str) -> str:
    from prunebench.cli.tables import clean

    return "".join(clean(line[start : start + 1000]) for start in range(0, len(line), 1000))


def _write_bytes(data: bytes, output: Path | None) -> None:
    if output is None:
        if sys.stdout.isatty():
            raise click.UsageError("Parquet is not for the screen; add --output FILE or a pipe")
        sys.stdout.buffer.write(data)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise click.UsageError(f"{output}: cannot be written: {error.strerror}") from None
