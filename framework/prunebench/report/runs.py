"""Which run is meant: by its id or the beginning of one, by its grid's name, or simply the latest."""

from __future__ import annotations

from prunebench.errors import StoreError, did_you_mean
from prunebench.report.scope import Queryable
from prunebench.writing import quoted

SQL = """
select run_id
from runs
where {where}
order by run_id = {wanted} desc, run_name = {wanted} desc, started_at desc nulls last, run_id desc
"""


def find_run(results: Queryable, wanted: str | None = None) -> str:
    """The id of the run called `wanted` (the latest where a grid's name is given), or of the latest of all.

    Raises StoreError where there is none, or where `wanted` only begins several.
    """
    text = quoted(wanted or "")
    where = f"run_id = {text} or run_name = {text} or starts_with(run_id, {text})"
    found = results.query(SQL.format(where=where, wanted=text))["run_id"].to_list()
    if wanted and len(found) > 1:
        exact = f"select run_id from runs where run_id = {text} or run_name = {text}"
        if results.query(exact).is_empty():
            begun = ", ".join(found[:5])
            raise StoreError(f"{wanted!r} begins {len(found)} runs: {begun}; type more of the id")
    if found:
        return str(found[0])
    known = results.query("select run_name as name from runs union select run_id from runs")["name"].to_list()
    if not known:
        raise StoreError("the database has no run yet: start one with bench run --grid …")
    raise StoreError(f"no run {wanted!r}{did_you_mean(wanted or '', known)}; bench runs lists them")
