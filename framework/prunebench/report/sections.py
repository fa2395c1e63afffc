"""The page's sections that need no chart: what was asked, how far each method goes, what is missing, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from prunebench.report.markup import code, count, details, esc, listed, pairs, paragraph, section, table
from prunebench.report.score import floor_words, score_text
from prunebench.report.seeds import ONE_SEED, caution

if TYPE_CHECKING:
    import polars as pl

FEW = 30  # rows up to which those that reach nothing are not folded away
WITHIN, WIDELY = 0.01, 0.05  # of results that do not say what is "as good" as dense, and "nearly"
FAULTS = ("failed", "timeout", "killed", "oom")
WORDS = {
    "skipped": "declined",
    "timeout": "ran out of time",
    "killed": "killed",
    "oom": "out of memory",
    "failed": "failed",
}

LITTLE = 0.2  # accuracy of a dense network below which keeping it means little


def glance(settings: pl.DataFrame, batches: list[str]) -> str:
    """How far each method goes while it stays near its dense network; empty where nothing says."""
    import polars as pl

    known = settings.filter(pl.col("accuracy_drop").is_not_null() & (pl.col("method") != "dense"))
    if known.is_empty():
        return ""
    text = (
        f"The furthest setting of each method whose mean score is {_within(known)} of its dense network; "
        "in grey, nearly so, where that is further. Times faster counts only where the interval excludes no gain."
    )
    rows = list(_glance_rows(known, batches))
    parts = [_glance_table(rows, batches)]
    nowhere = [row for row in rows if not row.reaches]
    if len(rows) > FEW and nowhere:
        reaching = [row for row in rows if row.reaches]
        folded = details(f"{count(len(nowhere), 'row')} nowhere near dense", _glance_table(nowhere, batches))
        parts = [_glance_table(reaching, batches) if reaching else "", folded]
    return "".join([f"<h3>How far each method goes</h3>{paragraph(text, 'note')}", *parts])


def _within(known: pl.DataFrame) -> str:
    """What is near: one percentage point of accuracy; else as each objective says."""
    titles = known["score_title"].unique().to_list() if "score_title" in known.columns else ["top-1 accuracy"]
    return "within one percentage point" if titles == ["top-1 accuracy"] else "as near as its objective asks for"


class _Glance(NamedTuple):
    """A row of the table: data set and model, method, and what the method reaches."""

    panel: str
    method: str
    cells: list[str]

    @property
    def reaches(self) -> bool:
        return any("×" in cell for cell in self.cells)


def _glance_rows(known: pl.DataFrame, batches: list[str]) -> Iterator[_Glance]:
    import polars as pl

    for (panel, method), group in known.group_by(["panel", "method"], maintain_order=True):
        single = bool((group["seed_count"] == 1).all())
        marked = group.with_columns(is_marked=(pl.col("seed_count") == 1) & (not single))
        cells = [_reach(marked, name) for name in ("compression_ratio", "stored_ratio", "theoretical_speedup")]
        cells += [_reach(marked.filter(pl.col(f"verdict {b}") == "faster"), f"speedup {b}") for b in batches]
        mark = f" <small>{ONE_SEED}</small>" if single else ""
        yield _Glance(str(panel), f"{esc(method)}{mark}", cells)


def _glance_table(rows: list[_Glance], batches: list[str]) -> str:
    names = [
        "times fewer parameters",
        "times smaller on disk",
        "times fewer MACs",
        *(f"times faster, {batch}" for batch in batches),
    ]
    heads = [("data set · model", ""), ("method", ""), *((name, "number") for name in names)]
    shown, last = [], None
    for row in rows:
        new = esc(row.panel) if row.panel != last else ""
        over = f'<span class="over">{new}</span>' if new else ""  # instead of the first column on a narrow screen
        shown.append([new, f"{over}{row.method}", *row.cells])
        last = row.panel
    return table(heads, shown, "reach", [row.panel for row in rows])


def _reach(group: pl.DataFrame, name: str) -> str:
    """The largest `name` within one point, and in small print within five where that is another."""
    import polars as pl

    limits = (
        pl.col("near") if "near" in group.columns else WITHIN,
        pl.col("nearly") if "nearly" in group.columns else WIDELY,
    )
    near, far = (_furthest(group.filter(pl.col("accuracy_drop") <= limit), name) for limit in limits)
    return f'{near} <small class="wide">{far if far != near else ""}</small>'


def _furthest(group: pl.DataFrame, name: str) -> str:
    """The largest `name`, marked where a single seed says so."""
    if name not in group.columns:
        return "–"
    row = next(group.drop_nulls(name).sort(name, descending=True).head(1).iter_rows(named=True), None)
    if row is None:
        return "–"
    floor = floor_words(row)
    floored = f" ({floor})" if floor else ""
    return f"{row[name]:.2f}×" + (f" {ONE_SEED}" if row["is_marked"] else "") + floored


def refused(groups: pl.DataFrame, missing: int) -> str:
    """Declined and failed cells, a row per reason."""
    parts = [paragraph(f"Without a result so far: {count(missing, 'planned trial')}.", "note")] if missing else []
    rows = list(groups.iter_rows(named=True))
    faults = [row for row in rows if row["status"] != "skipped"]
    declined = [row for row in rows if row["status"] == "skipped"]
    if faults:
        parts += ["<h3>Failed</h3>", _reason_list(faults)]
    if declined:
        note = "A method declines where it cannot or should not be applied; an empty cell is an outcome too."
        parts += ["<h3>Declined</h3>", paragraph(note, "note"), _reason_list(declined)]
    parts.append(_more(groups, "failures"))
    if not rows:
        parts.append(paragraph("Nothing failed and nothing was declined.", "empty"))
    return section("missing", "Failed and declined", *parts)


def _reason_list(rows: Iterable[dict[str, Any]]) -> str:
    return f'<ul class="sums">{"".join(map(_reason, rows))}</ul>'


def _reason(row: dict[str, Any]) -> str:
    more = f" and {row['setting_count'] - 6} more" if row["setting_count"] > 6 else ""
    where = f"{', '.join(row['settings'])}{more} on {', '.join(row['panels'])}"
    trace = details(f"Traceback of trial {row['example']}", code(row["detail"], longest=8000)) if row["detail"] else ""
    word = WORDS.get(row["status"], row["status"])
    return (
        f'<li><p class="soft">{esc(word)}<br>{count(row["trial_count"], "trial")}</p><div><p>{esc(row["reason"])}</p>'
        f'<p class="note">{esc(where)}</p>{trace}</div></li>'
    )


def asked(runs: pl.DataFrame) -> str:
    """The grids as they were written, and the commands."""
    rows = list(runs.iter_rows(named=True))
    if not rows:
        return section("asked", "What was asked", paragraph("No run is recorded for these trials.", "empty"))
    parts = [_one_run(row, place) for place, row in enumerate(rows[:6])]
    if len(rows) > 6:
        parts.append(paragraph(f"{len(rows) - 6} more runs are in the database: bench runs.", "note"))
    return section("asked", "What was asked", *parts)


def _one_run(row: dict[str, Any], place: int) -> str:
    facts = pairs(
        [
            ("run", row["run_id"]),
            ("started", _moment(row["started_at"])),
            ("scale", row["scale"]),
            ("trials planned", row["trial_count"]),
            ("command", row["command"]),
        ]
    )
    grid = details("The grid", code(row["grid"], f"grid-{place}"), is_open=place == 0) if row["grid"] else ""
    return f"<h3>{esc(row['run_name'] or row['run_id'])}</h3>{facts}{grid}"


def provenance(machines: pl.DataFrame, protocols: pl.DataFrame) -> str:
    """Machines, libraries, code and protocols."""
    parts = [*(_machine(row) for row in machines.iter_rows(named=True)), _more(machines, "environments")]
    parts += [*(_protocol(row) for row in protocols.iter_rows(named=True)), _more(protocols, "protocols")]
    if not any(parts):
        parts = [paragraph("No trial has stored its provenance.", "empty")]
    return section("provenance", "Where and with what", *parts)


def _more(rows: pl.DataFrame, view: str) -> str:
    """That there are more than are shown, and where; nothing where there are not."""
    left = int(rows["all_count"][0]) - rows.height if rows.height else 0
    return paragraph(f'{left:,} more are in the database: bench query "from {view}".', "note") if left else ""


def _machine(row: dict[str, Any]) -> str:
    memory = f"{row['memory_bytes'] / 2**30:.0f} GiB" if row["memory_bytes"] else None
    cores = f"{row['core_count']} cores" if row["core_count"] else None
    started, ended = _moment(row["first_started_at"]), _moment(row["last_started_at"])
    facts = [
        ("trials", f"{row['trial_count']:,}, {started} to {ended}"),
        ("processor", ", ".join(filter(None, [row["cpu"], cores, memory]))),
        ("device", " ".join(filter(None, [row["device"], row["gpu"], row["driver"]]))),
        ("threads", _several(row["threads"])),
        ("system", row["os"]),
        ("software", f"Python {row['python']}, torch {row['torch']}, prunebench {_several(row['prunebench'])}"),
        ("commit", _several(row["git_commits"])),
        ("plugins", _merged(row["plugins"])),
        ("packages", _merged(row["packages"])),
        ("environment", row["environment_id"]),
    ]
    return f"<h3>{esc(row['host'] or 'unnamed machine')}</h3>{pairs(facts)}"


def _several(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values if value not in (None, ""))


def _protocol(row: dict[str, Any]) -> str:
    try:
        text = json.dumps(json.loads(row["settings"]), indent=2)
    except ValueError:
        text = str(row["settings"])
    chosen = paragraph(f"Found by measurement, for each side by itself. {row['chosen']}.") if row["chosen"] else ""
    return details(f"Protocol {row['protocol_id']}, {count(row['trial_count'], 'trial')}", chosen + code(text))


def _merged(texts: Iterable[str | None]) -> str:
    """JSON objects of names and versions as one list; a name with several versions has them all."""
    versions: dict[str, set[str]] = {}
    for text in texts:
        found = json.loads(text or "{}")
        for name, version in found.items():
            versions.setdefault(name, set()).add(str(version))
    return ", ".join(f"{name} ({', '.join(sorted(found))})" for name, found in sorted(versions.items()))


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "unknown"


def lead(endings: pl.DataFrame, batches: list[str], how: str = "") -> str:
    """What this page is about, and `how` its networks were timed."""
    if endings.is_empty():
        return "No trial here has a result yet."
    methods = [name for name in endings["method"].unique().sort().to_list() if name != "dense"]
    datasets, models = endings["dataset"].unique().sort().to_list(), endings["model"].unique().sort().to_list()
    timed = f" Timed in pairs with the dense network at {listed(batches)}{how}." if batches else " Nothing was timed."
    what = listed(methods) if methods else "the dense network alone"
    return f"{what} on {listed(datasets)} with {listed(models)}.{timed}"


def facts(endings: pl.DataFrame, missing: int) -> str:
    """The numbers under the title."""
    import polars as pl

    def total(*statuses: str) -> int:
        return int(endings.filter(pl.col("status").is_in(statuses))["trial_count"].sum() or 0)

    seeds = int(endings["seed_count"].max() or 0) if endings.height else 0  # type: ignore[arg-type]
    planned = total("ok", "skipped", *FAULTS) + missing
    shown = [
        ("measured", total("ok"), f" of {planned:,}"),
        ("methods", len(set(endings["method"]) - {"dense"}), ""),
        ("seeds, at most", seeds, ""),
        ("declined", total("skipped"), ""),
        ("failed", total(*FAULTS), ""),
    ]
    inside = "".join(f"<div><dt>{name}</dt><dd>{n:,}<small>{more}</small></dd></div>" for name, n, more in shown)
    return f'<dl class="facts">{inside}</dl>'


def cautions(settings: pl.DataFrame, batches: list[str], flags: str = "") -> Iterator[str]:
    """What to know before trusting the numbers: no dense network, no control, one seed, chance, no timing, `flags`."""
    import polars as pl

    told = []
    if settings.filter(pl.col("method") == "dense").is_empty():
        told.append("There is no dense network among these trials, so that drops and ratios may be missing.")
    if settings.filter(pl.col("control") & (pl.col("method") != "dense")).is_empty():
        told.append("There is no random control among these trials.")
    told += filter(None, [caution(settings.unique(("panel", "setting"))["seed_count"].to_list())])
    told += _about_chance(settings)
    if not batches:
        told.append("Nothing was timed: a theoretical speedup says nothing about a clock.")
    told += filter(None, [flags])
    if told:
        yield f"<h3>Read with care</h3><ul>{''.join(f'<li>{esc(line)}</li>' for line in told)}</ul>"


def _about_chance(settings: pl.DataFrame) -> list[str]:
    """Networks no better than chance or a constant answer: what dense ones keep of that says nothing."""

    return [*_at_floor(settings), *_fast_and_useless(settings), *_little(settings)]


def _at_floor(settings: pl.DataFrame) -> list[str]:
    """Names of networks at their objective's floor, the dense ones apart."""
    import polars as pl

    if "is_at_floor" not in settings.columns:
        return []
    rows = settings.filter(pl.col("is_at_floor").fill_null(False)).unique(("panel", "setting")).sort("panel", "setting")
    if rows.is_empty():
        return []
    floors = "chance, the majority or a constant answer"
    return [f"No better than {floors}, which need no network: {_named(rows)}."]


def _fast_and_useless(settings: pl.DataFrame) -> list[str]:
    """Names of networks that are called faster and are hardly better than no network."""
    import polars as pl

    verdicts = [name for name in settings.columns if name.startswith("verdict ")]
    if not verdicts or "is_near_floor" not in settings.columns:
        return []
    faster = pl.any_horizontal(pl.col(name).fill_null("") == "faster" for name in verdicts)
    near = pl.col("is_near_floor").fill_null(False) & ~pl.col("is_at_floor").fill_null(False)
    rows = settings.filter(faster & near).unique(("panel", "setting")).sort("panel", "setting")
    if rows.is_empty():
        return []
    return [f"Faster, but hardly better than without a network, so the speed is of no use: {_named(rows)}."]


def _named(rows: pl.DataFrame) -> str:
    """The first dozen settings, each with where and its score."""
    name = "label" if "label" in rows.columns else "setting"
    told = [(r[name], r["panel"], score_text(r["accuracy"], r["score_unit"], 0)) for r in rows.head(12).to_dicts()]
    names = [f"{what} on {panel} ({score})" for what, panel, score in told]
    return "; ".join(names) + (f"; {rows.height - 12} more" if rows.height > 12 else "")


def _little(settings: pl.DataFrame) -> list[str]:
    import polars as pl

    if "score_unit" in settings.columns:
        settings = settings.filter(pl.col("score_title") == "top-1 accuracy")

    weak = settings.filter((pl.col("method") == "dense") & (pl.col("accuracy") < LITTLE)).unique("panel").sort("panel")
    if weak.is_empty():
        return []
    names = "; ".join(f"{panel} ({accuracy:.0%})" for panel, accuracy in weak.select("panel", "accuracy").iter_rows())
    return [f"Dense networks that are right on less than {LITTLE:.0%} say nothing about kept accuracy: {names}."]
