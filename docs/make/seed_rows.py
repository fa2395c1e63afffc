"""Writes docs/seed-rows.md to standard output: every system of the two founding papers and of what they cite."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import Installed, find_installed

HERE = Path(__file__).parent

HEAD = """# Seed rows

Made by `python docs/make/seed_rows.py > docs/seed-rows.md` from `docs/make/seed_rows.toml`, the papers' grids, and the
verdicts stored for [the claims](papers-offline.md) and for [published numbers](ledger.md).

Every system of Ravan and Ebanks (2024), of Rohlicek (2020) and of what both cite: what it is, where it runs here, the
command, and what became of it. *Numbers* counts published ones of that method and paper: reproduced, not reproduced,
and open, where nobody can tell yet. *Claim* is what its paper says of it, asked offline; the page of the claims says
what † means.

| system | told in | here | runs on | command | numbers | claim |
| --- | --- | --- | --- | --- | --- | --- |
"""


def rows() -> list[dict[str, str]]:
    """The systems, as the file lists them."""
    return tomllib.loads((HERE / "seed_rows.toml").read_text())["row"]


def page() -> str:
    """The page."""
    installed = find_installed()
    stored = {entry["paper"]: entry for entry in json.loads((HERE / "papers.json").read_text())}
    judged = json.loads((HERE / "ledger.json").read_text())
    names = sorted({row["paper"] for row in rows()})
    places = {name: places_of(installed, name) for name in names}
    return HEAD + "".join(line(row, installed, places[row["paper"]], stored, judged) for row in rows())


def places_of(installed: Installed, name: str) -> dict[str, tuple[str, ...]]:
    """Method -> where the paper's offline grid runs it, "model on data set"."""
    paper = installed.find("paper", name).cls()
    found: dict[str, dict[str, None]] = {}
    for trial in plan(Grid.parse(paper.grid("offline"), source=name), installed).trials:
        found.setdefault(trial.method.use, {})[f"{trial.model.use} on {trial.dataset.use}"] = None
    return {method: tuple(each) for method, each in found.items()}


def line(row: dict[str, str], installed: Installed, places: dict, stored: dict, judged: list) -> str:
    """A row of the table."""
    method, paper = row["method"], row["paper"]
    installed.find("method", method)
    command = f"`bench run --grid {paper} --scale offline`"
    cells = [row["system"], row["told"], f"[`{method}`](methods.md#{method})", "; ".join(places[method]), command]
    cells += [numbers(installed, method, paper, judged), verdict(row, stored.get(paper))]
    return f"| {' | '.join(cells)} |\n"


def numbers(installed: Installed, method: str, paper: str, judged: list) -> str:
    """Published numbers of this method in this paper, by what became of them."""
    all_rows = [row for row in installed.find("paper", paper).cls().ledger() if row.method == method]
    if not all_rows:
        return "none"
    found = Counter(entry["verdict"] for entry in judged if (entry["paper"], entry["method"]) == (paper, method))
    kept = {name: found[name] for name in ("reproduced", "not reproduced") if found[name]}
    rest = len(all_rows) - sum(kept.values())
    return ", ".join([f"{count} {name}" for name, count in kept.items()] + [f"{rest} open"] * (rest > 0))


def verdict(row: dict[str, str], entry: dict | None) -> str:
    """What became of the claim; the paper makes none of some systems."""
    if "claim" not in row:
        return "none is made"
    found = [said for said in (entry or {"verdicts": []})["verdicts"] if said["text"].startswith(row["claim"])]
    if not found:
        return f"{row['claim']}…: not run"
    mark = " †" if "sql" not in found[0] else ""
    return f"{found[0]['text']}: **{found[0]['verdict']}**{mark}"


if __name__ == "__main__":
    print(page(), end="")
