"""The static site of a published folder: one page, and the data as scripts that it loads when they are asked for.

A page opened from a folder may not fetch files, but may load scripts: so rows are scripts that hand over JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.grid import lines
from prunebench.report.headlines import by_setting, headline
from prunebench.report.scope import Scope
from prunebench.report.score import floor_words
from prunebench.report.text import script_json
from prunebench.writing import printable, printable_lines

if TYPE_CHECKING:
    import polars as pl

    from prunebench.store import Results

ROWS_PER_FILE = 5000  # of the table
TRIALS_PER_FILE = 100  # of what a trial's own page shows
SAMPLES_SHOWN = 200  # timed blocks per trial and batch size
ROWS = """
    with last as (
        from speedups select trial_id, batch, speedup, speedup_low, speedup_high, latency_ms, verdict
        qualify row_number() over (partition by trial_id order by batch desc) = 1
    )
    select
        t.trial_id as id, t.status, t.dataset_label as dataset, t.model_label as model, t.method,
        t.method_label as label,
        t.setting, t.seed, t.score_title, t.score_unit, t.larger_is_better, t.score, t.dense_score, t.score_loss,
        t.is_at_floor, not t.is_dense and is_near_floor(t.score, t.dense_score, t.score_floor) as is_near_floor,
        c.verdict as score_verdict, t.compression_ratio, t.theoretical_speedup, t.stored_ratio,
        t.stored_bytes, t.parameter_count, last.batch, last.speedup, last.speedup_low, last.speedup_high,
        last.latency_ms, case when t.is_dense then null else last.verdict end as speed_verdict, t.prune_seconds,
        t.is_control, t.is_dense, t.run_name as run, t.run_id, runs.origin, t.protocol_id as protocol,
        t.environment_id as machine, t.provenance_id as provenance, t.reason
    from trials as t
    left join comparison as c using (trial_id)
    left join last using (trial_id)
    left join runs on runs.run_id = t.run_id
    order by t.dataset_label, t.model_label, t.method, t.compression_ratio, words_of(t.method_label),
        numbers_of(t.method_label), t.seed, t.trial_id
"""
PARTS = {  # of a trial's own page: rows by trial
    "layers": "select trial_id, layer, kind, layer_rank as rank, parameter_count_before as before, "
    "parameter_count_after as after, nonzero_parameter_count_after as nonzero, mac_count_before, mac_count_after, "
    "weight_error, left_alone from layers where trial_id in (select unnest(?)) order by trial_id, position",
    "curve": "select trial_id, phase, epoch, train_loss, validation_loss, validation_score, seconds from curves "
    "where trial_id in (select unnest(?)) order by trial_id, phase desc, epoch",
    "speed": "select trial_id, batch, threads, dtype, compile, clock, speedup, speedup_low, speedup_high, latency_ms, "
    "dense_latency_ms, contention, floor, verdict from speedups where trial_id in (select unnest(?)) "
    "order by trial_id, batch",
    "samples": "select trial_id, batch, block, dense_ms, pruned_ms from latency_samples "
    f"where trial_id in (select unnest(?)) and block <= {SAMPLES_SHOWN} order by trial_id, batch, block",
    "attempts": "select trial_id, run_id as run, attempt, status, top1_accuracy, speedup, environment_id as machine, "
    "is_superseded from attempts where trial_id in (select unnest(?)) order by trial_id, started_at, run_id, attempt",
}
CHOICES = """
    select r.trial_id as id, d.id as dataset, m.id as model, a.id as method, protocol.protocol_id as protocol
    from result as r
    join choice as d on d.id = r.dataset join choice as m on m.id = r.model join choice as a on a.id = r.method
    join protocol on protocol.id = r.protocol
    where r.id not in (select result from superseded)
"""


def write_site(results: Results, folder: Path, facts: dict[str, Any]) -> int:
    """Write index.html and site/ into `folder`; `facts` are what the front page tells. Returns the count of trials."""
    data = folder / "site"
    data.mkdir()
    rows = results.query(ROWS)
    names = _write_rows(rows, data)
    grid_lines = _grid_lines(results)
    ids = rows["id"].to_list()
    for number, start in enumerate(range(0, len(ids), TRIALS_PER_FILE)):
        part = _details(results, ids[start : start + TRIALS_PER_FILE], grid_lines["trials"])
        _script(data / f"trials-{number}.js", "details", number, part)
    front = facts | {
        "row_files": names,
        "row_count": len(ids),
        "trials_per_file": TRIALS_PER_FILE,
        "runs": [_readable(row) for row in results.query(RUNS).to_dicts()],
        "findings": _findings(results),
        "machines": [_readable(row) for row in results.query("select * from environments order by all").to_dicts()],
        "provenances": [_readable(row) for row in results.query("select * from provenances order by all").to_dicts()],
        "choices": grid_lines["choices"],
        "protocols": grid_lines["protocols"],
    }
    _script(data / "front.js", "front", 0, front)
    for name in ("index.html", "site.js", "site.css"):
        text = resources.files("prunebench.publishing").joinpath(f"assets/{name}").read_text(encoding="utf-8")
        (folder / name if name == "index.html" else data / name).write_text(text, encoding="utf-8")
    return len(ids)


RUNS = """
    select run_id as id, run_name as name, scale, started_at, stored_count as results, ok_count as ok,
        skipped_count as declined, failed_count as failed, grid, claims, origin, publisher
    from runs order by started_at, run_id
"""


def _script(path: Path, what: str, number: int, value: Any) -> None:
    path.write_text(f"prunebench({script_json(what)}, {number}, {script_json(value)});\n", encoding="utf-8")


def _write_rows(rows: pl.DataFrame, folder: Path) -> list[str]:
    """Columns of so many rows per file; texts as numbers into a list, since most of them repeat."""
    names = []
    for number, start in enumerate(range(0, max(1, len(rows)), ROWS_PER_FILE)):
        part = rows.slice(start, ROWS_PER_FILE)
        columns = {name: _column(name, part[name].to_list()) for name in part.columns}
        names.append(f"site/rows-{number}.js")
        _script(folder / f"rows-{number}.js", "rows", number, columns)
    return names


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    if not any(isinstance(item, str) for item in values) or name == "id":
        return {"values": [_short(item) for item in values]}
    places: dict[Any, int] = {}
    numbers = [places.setdefault(None if item is None else printable(item, 300), len(places)) for item in values]
    return {"texts": list(places), "numbers": numbers}


def _short(item: Any) -> Any:
    """Six digits are what a page shows."""
    return float(f"{item:.6g}") if isinstance(item, float) else item


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, item in row.items():
        if isinstance(item, str):
            made[name] = printable_lines(item) if name == "grid" else printable(item)
        else:
            made[name] = item if item is None or isinstance(item, bool | int | float) else str(item)
    return made


def _grid_lines(results: Results) -> dict[str, Any]:
    """What a trial's page needs to write the grid that repeats it: each choice and protocol once, as TOML."""
    choices = {}
    for row in results.query("select id, name, params, target, stages from choice").to_dicts():
        stored = {key: json.loads(row[key]) if row[key] else None for key in ("params", "target", "stages")}
        choices[row["id"]] = lines.entry({"use": row["name"], **stored})
    protocols = {
        row["protocol_id"]: lines.protocol(json.loads(row["settings"]))
        for row in results.query("select protocol_id, settings from protocols").to_dicts()
    }
    trials = {row["id"]: [row["dataset"], row["model"], row["method"]] for row in results.query(CHOICES).to_dicts()}
    return {"choices": choices, "protocols": protocols, "trials": trials}


def _details(results: Results, ids: Sequence[str], choices: dict[str, list[int]]) -> dict[str, Any]:
    """Trial -> its parts, each as columns and rows."""
    made: dict[str, Any] = {trial: {"choices": choices.get(trial)} for trial in ids}
    for part, sql in PARTS.items():
        frame = results.query(sql, [list(ids)])
        columns = [name for name in frame.columns if name != "trial_id"]
        for row in frame.iter_rows(named=True):
            table = made[row["trial_id"]].setdefault(part, {"columns": columns, "rows": []})
            table["rows"].append([_cell(row[name]) for name in columns])
    return made


def _cell(item: Any) -> Any:
    if isinstance(item, str):
        return printable(item, 300)
    return _short(item) if item is None or isinstance(item, bool | int | float) else str(item)


def _findings(results: Results) -> list[dict[str, Any]]:
    """A row per panel and method: how far it goes within what its objective calls as good as dense."""
    settings, batches = by_setting(headline(results, Scope()))
    return list(_furthest(settings, batches))


def _furthest(settings: pl.DataFrame, batches: Sequence[str]) -> Iterator[dict[str, Any]]:
    import polars as pl

    known = settings.filter((pl.col("method") != "dense") & pl.col("accuracy_drop").is_not_null())
    speed = f"speedup {batches[-1]}" if batches else ""
    for (panel, method), group in known.group_by(["panel", "method"], maintain_order=True):
        near = group.filter(pl.col("accuracy_drop") <= pl.col("near")).drop_nulls("compression_ratio")
        best = near.sort("compression_ratio", descending=True).head(1).to_dicts()
        row: dict[str, Any] = {"panel": printable(panel), "method": printable(method), "settings": len(group)}
        if best:
            faster = best[0].get(f"verdict {batches[-1]}") if batches else None
            row |= {
                "label": printable(best[0]["setting"]),
                "compression_ratio": _short(best[0]["compression_ratio"]),
                "score": _short(best[0]["accuracy"]),
                "score_loss": _short(best[0]["accuracy_drop"]),
                "unit": best[0]["score_unit"],
                "seeds": best[0]["seed_count"],
                "is_control": best[0]["control"],
                "speedup": _short(best[0].get(speed)) if speed else None,
                "batch": batches[-1] if batches else None,
                "verdict": ", ".join(filter(None, [faster, floor_words(best[0]) if faster else ""])) or None,
            }
        yield row
