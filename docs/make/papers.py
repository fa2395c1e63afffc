"""Writes docs/papers-offline.md to standard output: what the papers' claims came to where no data have to be fetched.

With results databases as arguments, the verdicts of the latest offline run of every paper in them are written to
docs/make/papers.json instead, which the page reads. What is stored of other papers stays.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prunebench.plugins.discovery import find_installed
from prunebench.report.outdated_rows import Since, judged, today
from prunebench.store.sealed_client import sealed_query

STORED = Path(__file__).parent / "papers.json"
BY_HAND = "†"

HEAD = f"""# What the papers' claims came to, offline

Made by `python docs/make/papers.py > docs/papers-offline.md` from verdicts that were stored when the grids ran:
`bench run --grid NAME --scale offline --db papers.duckdb`, then `python docs/make/papers.py papers.duckdb`.
`bench claims NAME` makes the same from your own results, with the query behind each.

Data are `digits`, drawn letters, prose that comes with Python, and locally trained or untrained weights: nothing here
speaks of the published data sets. "Within" is the claim's own tolerance, which `bench claims` prints.

{BY_HAND} marks verdicts from a table that was kept by hand on 25 November 2026; their rows are not stored, and which
protocol they were made by cannot be checked. A verdict whose rows use a protocol that the paper's grid asks for no
longer says so.
"""

FOOT = """
Small networks on small data are slow by what is around a multiplication, not by the multiplications: the speedups of
the character networks, flattened and CP-decomposed ones come out well below the published although the multiplications
fall as said. ± is a standard error or, for garg-2020, the standard deviation over seeds.
"""

RUNS = """
select run_id, run_name, started_at, (
    select any_value(e.cpu) || ', ' || any_value(e.core_count) || ' cores'
    from environments as e
) as machine, (select any_value(p.prunebench) from provenances as p) as version
from runs
where scale = 'offline' and not exists (
    select 1 from run_trials as t where t.run_id = runs.run_id and t.trial_id not in (select trial_id from trials)
)
order by started_at
"""


def stored_of(database: Path) -> list[dict]:
    """The latest whole offline run of every paper in the database, its verdicts and the ids of its rows."""
    found = sealed_query(database, RUNS)
    latest = {row["run_name"]: row for row in (dict(zip(found.columns, row, strict=True)) for row in found.rows)}
    return [entry(database, row) for row in latest.values()]


def entry(database: Path, run: dict) -> dict:
    """A run as plain data."""
    rows = sealed_query(
        database, "select trial_id from trials where status = 'ok' order by 1", run=run["run_id"], row_limit=100_000
    )
    names = ("text", "sql", "verdict", "numbers", "seed_count")
    verdicts = [{name: getattr(verdict, name) for name in names} for verdict in judged(database, run["run_id"])]
    date, paper = str(run["started_at"])[:10], run["run_name"]
    about = {"paper": paper, "date": date, "machine": run["machine"], "prunebench": run["version"]}
    return {**about, "rows": [row[0] for row in rows.rows], "verdicts": verdicts}


def page() -> str:
    """The page."""
    installed = find_installed()
    stored = {entry["paper"]: entry for entry in json.loads(STORED.read_text())}
    parts = [HEAD, "| paper | claim | verdict | numbers |\n| --- | --- | --- | --- |"]
    for name, plugin in sorted(installed.of_kind("paper").items()):
        ids, claims = today(plugin.cls().grid("offline"), name, installed)
        parts += lines(name, stored.get(name), ids, claims)
    return "\n".join(parts) + "\n" + FOOT


def lines(name: str, entry: dict | None, ids: set[str], claims: dict[str, str]) -> list[str]:
    """A row per claim that the paper makes today; the first names the paper and when it ran."""
    found = {verdict["text"]: verdict for verdict in entry["verdicts"]} if entry else {}
    known = set(entry["rows"]) if entry else set()
    held = Since(name, len(known - ids), len(known), frozenset(claims.values()))
    texts = []
    for place, text in enumerate(claims):
        said = found.get(text)
        told = (about(entry, held) if entry else name) if place == 0 else ""
        texts.append(f"| {told} | {text} | {' | '.join(cells(said, held) if said else ('not run', ''))} |")
    return texts


def about(entry: dict, held: Since) -> str:
    """The paper, when its grid ran and on what; rows of an older protocol are counted."""
    if not entry["rows"]:
        return f"{entry['paper']} {BY_HAND}"
    old = f"; **{held.old_count} of {held.row_count} rows of an older protocol**" if held.old_count else ""
    return f"{entry['paper']} ({entry['date']}, {entry['machine']}, {len(entry['rows'])} rows{old})"


def cells(verdict: dict, held: Since) -> tuple[str, str]:
    """Verdict and numbers."""
    if "sql" not in verdict:
        return f"{verdict['verdict']} {BY_HAND}", verdict["numbers"]
    single = ", one seed" if verdict["seed_count"] == 1 else ""
    changed = "" if verdict["sql"] in held.claims else "; the query changed since"
    shown = ", ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in verdict["numbers"].items())
    return f"{verdict['verdict']}{single}{changed}", shown.replace("|", "\\|")


def number(value: object) -> str:
    """Four digits of a number, other values as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        kept = {entry["paper"]: entry for entry in json.loads(STORED.read_text())} if STORED.is_file() else {}
        for database in sys.argv[1:]:
            kept |= {entry["paper"]: entry for entry in stored_of(Path(database))}
        STORED.write_text(json.dumps([kept[name] for name in sorted(kept)], indent=1, default=str) + "\n")
    else:
        print(page(), end="")
