"""A grid by the name it is asked by: a file, a bundled grid, or a paper at a scale."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunebench.errors import GridError, did_you_mean
from prunebench.grid.axes import UnknownKeys
from prunebench.grid.blocks import Entry
from prunebench.grid.grid import Grid
from prunebench.grid.plan import unknown_fields
from prunebench.plugins.discovery import Installed
from prunebench.plugins.parameters import complete, create
from prunebench.plugins.registry import bundled_grids

AVAILABLE = "available"  # a paper's full grid, as far as its data sets are on disk


def load_grid(grid: str | Path | Grid, installed: Installed, scale: str | None, data_dir: Path) -> Grid:
    """A grid from a file, a bundled grid's name, or a paper's at `scale` (by default what the data allows).

    Raises `GridError`; where keys are unknown, it says at once which settings of its entries are, too.
    """
    try:
        return _load(grid, installed, scale, data_dir)
    except UnknownKeys as error:
        raise GridError("; ".join([str(error), *unknown_fields(error.blocks, installed)])) from None


def _load(grid: str | Path | Grid, installed: Installed, scale: str | None, data_dir: Path) -> Grid:
    if isinstance(grid, Grid):
        return grid
    path, papers, bundled = Path(grid), installed.of_kind("paper"), bundled_grids()
    if path.suffix == ".toml" or path.exists():
        return Grid.load(path)
    if str(grid) in bundled:
        return Grid.load(bundled[str(grid)])
    if ("paper", str(grid)) not in installed.by_name:
        known = sorted({*papers, *bundled})
        hint = did_you_mean(str(grid), known) or f"; known: {', '.join(known)}"
        raise GridError(f"no grid file and no paper {str(grid)!r}{hint}")
    paper = installed.find("paper", str(grid)).cls()
    chosen = scale or default_scale(paper, installed, data_dir)
    text_of = "full" if chosen == AVAILABLE else chosen
    parsed = Grid.parse(paper.grid(text_of), name=paper.name, source=f"{paper.name} ({text_of})")
    parsed = replace(parsed, scale=text_of)
    return with_available_data(parsed, installed, data_dir) if chosen == AVAILABLE else parsed


def with_available_data(grid: Grid, installed: Installed, data_dir: Path) -> Grid:
    """The blocks whose data sets lie in `data_dir`; a warning names the others. Raises `GridError` where none does."""
    missing: dict[str, int] = {}
    kept = []
    for block in grid.blocks:
        here = tuple(entry for entry in block.datasets if is_available(entry, installed, data_dir))
        per_setting = block.count // sum(entry.count for entry in block.datasets)
        for entry in (entry for entry in block.datasets if entry not in here):
            missing[entry.use] = missing.get(entry.use, 0) + per_setting * entry.count
        kept += [replace(block, datasets=here)] if here else []
    if not kept:
        raise GridError(f"{grid.name}: none of its data sets lies in {data_dir}: {', '.join(sorted(missing))}")
    said = tuple(f"{name} is not in {data_dir}: its {cells:,} cells are left out" for name, cells in missing.items())
    return replace(grid, blocks=tuple(kept), warnings=(*grid.warnings, *said))


def is_available(entry: Entry, installed: Installed, data_dir: Path) -> bool:
    """Whether a data set of a grid can be loaded from `data_dir` without a network, at all its settings."""
    plugin = installed.find("dataset", entry.use).cls
    settings = (complete(plugin, dict(draft.params)) for draft in entry.drafts())
    return all(create(plugin, values).available(data_dir) for values in settings)


def default_scale(paper: Any, installed: Installed, data_dir: Path) -> str:
    """`full` where every data set of the full grid lies in `data_dir`, otherwise `offline`."""
    full = Grid.parse(paper.grid("full"), name=paper.name, source=paper.name)
    entries = [entry for block in full.blocks for entry in block.datasets]
    known = installed.of_kind("dataset")
    return "full" if all(e.use in known and is_available(e, installed, data_dir) for e in entries) else "offline"


def data_folder(given: Path | None) -> Path:
    """Where data sets lie: given, PRUNEBENCH_DATA, or the user's cache."""
    return given or Path(os.environ.get("PRUNEBENCH_DATA") or Path.home() / ".cache" / "prunebench")
