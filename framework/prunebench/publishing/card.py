"""The card of a published folder: README.md with the front matter that dataset hosts read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prunebench.grid import lines
from prunebench.writing import printable

if TYPE_CHECKING:
    from prunebench.store import Results

PROVENANCES = """
    select p.prunebench, p.git_commit, p.device, p.threads, p.packages, p.plugins, count(*) as results
    from trials as t join provenances as p using (provenance_id) group by all order by results desc, p.prunebench
"""


WITH_VIEWS = (
    "Open `index.html` to read them. `views/*.parquet` are for analysis (`manifest.json` and",
    "`views/columns.json` say what each column means), `trials.csv` is the same table as text,",
)
WITHOUT_VIEWS = ("Open `index.html` to read them. `trials.csv` is the table of trials as text,",)


def card(results: Results, licence: str, publisher: str, views: list[str]) -> str:
    """The whole text."""
    counts = results.query(
        "select count(*) as trials, count(distinct method) as methods, count(distinct model_label) as models, "
        "count(distinct dataset_label) as datasets, count(*) filter (status = 'ok') as ok from trials"
    ).to_dicts()[0]
    return "\n".join(
        [
            *_front_matter(licence, views, counts["trials"]),
            "# Results of pruning and compressing networks\n",
            f"{counts['trials']:,} trials ({counts['ok']:,} ended ok) of {counts['methods']} methods on "
            f"{counts['models']} models and {counts['datasets']} data sets, measured by prunebench"
            + (f" and published by {_text(publisher)}." if publisher else "."),
            "",
            *(WITH_VIEWS if views else WITHOUT_VIEWS),
            "`evaluation/model-index.yml` has the scores in the layout of model cards, and `tables/*.parquet` are what",
            "`bench join` takes in. Speeds compare a network with its own dense one on one machine: never compare",
            "latencies of different machines.\n",
            "## Runs\n",
            *_table(
                results, "select run_id, run_name, started_at, stored_count, ok_count, origin from runs order by all"
            ),
            "## Machines\n",
            *_table(
                results,
                "select environment_id, cpu, core_count, gpu, os, python, torch, trial_count from environments "
                "order by all",
            ),
            "## Versions\n",
            *_table(results, PROVENANCES),
            "## Protocols\n",
            *_protocols(results),
            "## Licences\n",
            f"These numbers: {_text(licence) or 'none stated; ask the publisher'}. Data sets and pretrained weights "
            "are not part of this folder and keep their own licences.\n",
        ]
    )


def _front_matter(licence: str, views: list[str], count: int) -> list[str]:
    size = next(name for limit, name in SIZES if count < limit)
    configs = [f"- config_name: {view}\n  data_files: views/{view}.parquet" for view in views]
    return [
        "---",
        f"license: {json.dumps(licence or 'unknown')}",
        "tags: [model-compression, pruning, benchmark, prunebench]",
        f"size_categories: [{size}]",
        *(["configs:", *configs] if configs else []),
        "---",
        "",
    ]


SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (1 << 62, "n>1M"))


def _table(results: Results, sql: str) -> list[str]:
    frame = results.query(sql)
    body = [f"| {' | '.join(_text(item) for item in row)} |" for row in frame.iter_rows()]
    return [f"| {' | '.join(frame.columns)} |", f"|{' --- |' * len(frame.columns)}", *body, ""]


def _protocols(results: Results) -> list[str]:
    rows = results.query("select protocol_id, settings from protocols order by protocol_id").to_dicts()
    return [f"`{row['protocol_id']}`\n\n```toml\n{lines.protocol(json.loads(row['settings']))}\n```\n" for row in rows]


def _text(item: Any) -> str:
    """A cell that steers no Markdown."""
    shown = "" if item is None else printable(item, 400)
    for sign in "\\`*_[]<>|#":
        shown = shown.replace(sign, "\\" + sign)
    return shown
