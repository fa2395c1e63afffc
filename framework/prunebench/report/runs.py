"""Which run is meant: by its id, by its grid's name, or simply the latest."""

from __future__ import annotations

from prunebench.errors import StoreError, did_you_mean
from prunebench.report.scope import Queryable, literal


def find_run(results: Queryable, wanted: str | None = None) -> str:
    """The id of the run called `wanted` (the latest where several grids share the name), or of the latest of all.

    Raises StoreError naming what there is.
    """
    where = "" if wanted is None else f"where run_id = {literal(wanted)} or run_name = {literal(wanted)}"
    found = results.query(f"select run_id from runs {where} order by started_at desc nulls last, run_id desc limit 1")
    if found.height:
        return str(found.item())
    known = results.query("select distinct run_name as name from runs union select run_id from runs")["name"].to_list()
    if wanted is None or not known:
        raise StoreError("the database has no run yet: bench run --grid … makes one")
    raise StoreError(f"no run {wanted!r}{did_you_mean(wanted, known)}; bench runs lists them")
