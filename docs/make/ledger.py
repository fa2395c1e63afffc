"""Writes docs/ledger.md to standard output: every published number, its protocol, and what became of it.

With results databases as arguments, their verdicts are written to docs/make/ledger.json instead, which the page reads.
What is stored of other cells stays.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from prunebench.cli.ledger import entries_of, facts
from prunebench.judging.ledger import disagreements, unlike
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.ledger_rows import NONE, PROTOCOL

STORED = Path(__file__).parent / "ledger.json"
VERDICTS = ("reproduced", "not reproduced", "cannot tell")
KEY = ("source", "table", "model", "dataset", "method", "setting", "ratio", "metric", *PROTOCOL)

CAUSES = {
    "window": "the window: longer ones have more context (dense Llama-2-7B 5.47 at 2,048, 5.12 at 4,096)",
    "calibration_corpus": "the calibration: its text moves OPT-1.3B and OPT-2.7B in opposite directions",
    "updated": "training after compression",
}

HEAD = """# Published and ours

Made by `python docs/make/ledger.py > docs/ledger.md` from the papers' `ledger.csv` and from verdicts that were stored
when the grids ran (`bench run --grid benchmarks/founding_mnist.toml --data-dir DIR --db mnist.duckdb`, 1,220 trials on
MNIST; `benchmarks/founding_mnist_large.toml`, 31 trials of one seed; then `python docs/make/ledger.py mnist.duckdb`).
`bench ledger` makes the same table from your own results.

What the founding paper's networks can lose, first: its large network with ReLU has 96.7 % on MNIST. One shot, without
retraining, `data_aware_low_rank` keeps 96.0 % with 41 times and 95.8 % with 60 times fewer parameters, where the plain
SVD of the same ranks has 19.7 and 23.9 % (one seed, `benchmarks/founding_mnist_large.toml`).

A published number stands beside ours only where model, data, method and setting are the same **and** every column of
the protocol that the paper tells is the same: split, join, window, calibration, training recipe, updated or not.
Otherwise the two are shown apart and the column that differs is named. Times belong to their machine and are never
judged.

*Reproduced* means: our mean over n seeds differs from the published number by at most `3 · s · sqrt(1 + 1/n)` plus the
rounding of the printed number, where s is the larger of our standard deviation over seeds and the published one.
Perplexities get 0.05 % more, which is what precision and kernels move. Without a spread (fewer than three seeds of
ours, none printed) nobody can tell.
"""


def page() -> str:
    """The page."""
    installed = find_installed()
    rows = [row for name in sorted(installed.of_kind("paper")) for row in installed.find("paper", name).cls().ledger()]
    stored = {_key(entry): entry for entry in (json.loads(STORED.read_text()) if STORED.is_file() else [])}
    entries = [(row, stored.get(tuple(str(getattr(row, name)) for name in KEY))) for row in rows]
    parts = [
        HEAD,
        summary(entries),
        shared(rows),
        *(cells(paper, entries) for paper in sorted({r.paper for r in rows})),
    ]
    return "\n".join(parts)


def merged(databases: list[Path]) -> list[dict]:
    """What is stored, and what the databases measured in its place; another protocol's cell replaces none of ours.

    What is stored of a number that no paper has any more is dropped.
    """
    listed: set[tuple[str, ...]] = set()
    known = {_key(entry): entry for entry in (json.loads(STORED.read_text()) if STORED.is_file() else [])}
    for database in databases:
        for entry in map(facts, entries_of(find_installed(), database)):
            listed.add(_key(entry))
            if entry["ours"] or (entry["apart"] and not known.get(_key(entry), {}).get("ours")):
                known[_key(entry)] = entry
    return [entry for key, entry in known.items() if key in listed]


def _key(entry: dict) -> tuple[str, ...]:
    return tuple(str(entry[name]) for name in KEY)


def summary(entries: list) -> str:
    """Numbers per paper and verdict."""
    text = f"\n## {len(entries)} published numbers\n\n| paper | numbers | {' | '.join(VERDICTS)} |\n"
    text += "| --- | ---: | ---: | ---: | ---: |\n"
    for paper in sorted({row.paper for row, _ in entries}):
        found = Counter(stored["verdict"] if stored else VERDICTS[2] for row, stored in entries if row.paper == paper)
        counts = " | ".join(str(found[verdict]) for verdict in VERDICTS)
        text += f"| [{paper}](#{paper}) | {found.total()} | {counts} |\n"
    return text


def shared(rows: list) -> str:
    """Cells that several sources print, and where their protocols differ."""
    groups = disagreements(rows)
    if not groups:
        return ""
    text = "\n## The same cell in several papers\n\n"
    text += "Where protocols differ, the columns are named. A cause is likely, none was isolated here.\n\n"
    text += "| cell | values | protocol that differs | likely cause |\n| --- | --- | --- | --- |\n"
    for group in groups:
        first = group[0]
        ratio = "" if first.ratio == NONE else f" {first.ratio} {first.ratio_kind}"
        values = "; ".join(f"{number(r.value)}{f' ± {r.spread:g}' if r.spread else ''} ({r.source})" for r in group)
        why = "; ".join(unlike(group)) or "nothing that is told"
        cell = f"{first.model}, {first.dataset}: {first.method}{ratio}, {first.metric}"
        text += f"| {cell} | {values} | {why} | {cause(group)} |\n"
    return text


def cause(group: tuple) -> str:
    """What most likely moves the values of one cell apart."""
    values = [row.value for row in group]
    spreads = [row.spread for row in group if row.spread]
    apart = max(values) - min(values)
    if apart <= 0.002 * min(values):
        return "they agree within 0.2 %: precision, pad tokens, rounding"
    if spreads and apart <= 4 * max(spreads):
        return "no more apart than seeds are"
    said = [text for name, text in CAUSES.items() if len({getattr(row, name) for row in group} - {""}) > 1]
    if (group[0].model, group[0].method) == ("opt-1.3b", "magnitude"):
        said.append("shares kept per layer or over all layers, and the type of number computed with")
    return "; ".join(said) or "not told by the protocols"


def cells(paper: str, entries: list) -> str:
    """A paper's numbers, a row each."""
    text = f"\n## {paper}\n\n| where | cell | protocol | published | ours | verdict |\n"
    text += "| --- | --- | --- | ---: | ---: | --- |\n"
    for row, stored in entries:
        if row.paper == paper:
            text += "| " + " | ".join(line(row, stored)) + " |\n"
    return text


def line(row, stored: dict | None) -> list[str]:
    """A row of the table."""
    ratio = (
        row.setting
        if row.setting not in ("", NONE)
        else " ".join(part for part in (row.ratio, row.ratio_kind) if part != NONE)
    )
    told = [f"{n.replace('_', ' ')} {getattr(row, n)}" for n in PROTOCOL if getattr(row, n) not in ("", NONE)]
    spread = f" ± {row.spread:g}" if row.spread is not None else ""
    ours = stored and stored["ours"]
    mine = f"{number(ours['mean'])} (n = {ours['seed_count']})" if ours else ""
    verdict = f"{stored['verdict']}: {stored['why']}" if stored else "cannot tell: not measured"
    where = row.table if row.source == row.paper else f"{row.table} ({row.source}, {row.quality})"
    cell = f"{row.model}, {row.dataset}: {f'{row.method} {ratio}'.strip()}, {row.metric}"
    return [where, cell, "; ".join(told), number(row.value) + spread, mine, verdict]


def number(value: float) -> str:
    """As printed, without needless zeros."""
    return f"{value:.6g}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        STORED.write_text(json.dumps(merged([Path(name) for name in sys.argv[1:]]), indent=1) + "\n")
    else:
        print(page(), end="")
