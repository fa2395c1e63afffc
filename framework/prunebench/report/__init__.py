"""Charts and the offline page: one query and one function a chart, one HTML file a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.report.scope import Queryable, Scope
from prunebench.writing import write_whole

if TYPE_CHECKING:
    import polars as pl

    from prunebench.plugins.discovery import Installed

__all__ = ["Queryable", "Scope", "headline", "write_report"]


def write_report(
    db_path: Path | str,
    run_id: str | None,
    output: Path | str,
    query: str | None = None,
    paper: str | None = None,
    refresh_seconds: int | None = None,
    installed: Installed | None = None,
) -> Path:
    """Write the page about a run, the trials of a `query`, or everything, to `output`, and return its path.

    `paper` is the name of an installed paper whose numbers stand beside those of the run `run_id`. The file is complete
    or not there at all. `refresh_seconds` makes the page load itself again, for a run under way. `installed` are
    the plugins whose charts are drawn, by default all that the environment has.
    """
    from prunebench.plugins.discovery import find_installed
    from prunebench.report.build import Extras, build
    from prunebench.report.papers import find_paper
    from prunebench.report.verdict_sections import begin
    from prunebench.store import open_results

    known = installed or find_installed()
    with open_results(db_path) as results:
        judgements = begin(results, db_path, run_id, known) if run_id is not None else None
        extras = Extras(Path(db_path), judgements, find_paper(paper, known) if paper else None, refresh_seconds, known)
        text = build(results, Scope(run_id, query), extras)
    return replace_bytes(Path(output), text.encode())


def headline(results: Queryable, run_id: str | None = None) -> pl.DataFrame:
    """What came out: a row per setting and batch size, averaged over seeds."""
    from prunebench.report.headlines import headline as rows

    return rows(results, Scope(run_id))


def replace_bytes(path: Path, content: bytes) -> Path:
    """Write `content` beside `path` and rename; raises PruneBenchError where the folder cannot be written."""
    from prunebench.errors import PruneBenchError

    try:
        write_whole(path, content)
    except OSError as error:
        raise PruneBenchError(f"{path}: cannot be written: {error.strerror or error}; name another with -o") from None
    return path
