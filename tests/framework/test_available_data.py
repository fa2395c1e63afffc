"""A grid as far as its data sets are on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from prunebench import Dataset, Splits, param
from prunebench.engine.grids import is_available, with_available_data
from prunebench.errors import GridError
from prunebench.grid.grid import Grid
from prunebench.plugins.discovery import Installed, find_installed

GRID = """
[[block]]
dataset = ["digits", { use = "on_disk", part = ["a", "b"] }, { use = "on_disk", part = "c" }]
model = "simple_fcn"
seed = [0, 1]
method = [{ use = "low_rank", rank = [1, 2, 3] }]

[[block]]
dataset = { use = "on_disk", part = "c" }
model = "simple_fcn"
method = [{ use = "low_rank", rank = 1 }]
"""


@dataclass(frozen=True)
class OnDisk(Dataset):
    """A file per part."""

    name = "on_disk"
    class_count = 2
    part: str = param("a", "which file")

    def load(self, input_shape: tuple[int, int, int], folder: Path) -> Splits:
        raise AssertionError("planning loads nothing")

    def available(self, folder: Path) -> bool:
        return (folder / self.part).exists()


@pytest.fixture
def installed() -> Installed:
    return find_installed().named("dataset", "on_disk", OnDisk)


def test_blocks_whose_data_are_there_stay_and_the_others_are_counted(tmp_path: Path, installed: Installed) -> None:
    (tmp_path / "a").touch(), (tmp_path / "b").touch()
    kept = with_available_data(Grid.parse(GRID, name="mine"), installed, tmp_path)
    assert [[entry.use for entry in block.datasets] for block in kept.blocks] == [["digits", "on_disk"]]
    assert kept.warnings == (f"on_disk is not in {tmp_path}: its 9 cells are left out",)
    assert kept.count == 3 * 2 * 3


def test_an_entry_is_there_when_all_its_settings_are(tmp_path: Path, installed: Installed) -> None:
    (tmp_path / "a").touch()
    entry = Grid.parse(GRID).blocks[0].datasets[1]
    assert not is_available(entry, installed, tmp_path)
    (tmp_path / "b").touch()
    assert is_available(entry, installed, tmp_path)


def test_a_grid_without_any_of_its_data_is_refused(tmp_path: Path, installed: Installed) -> None:
    only = Grid.parse(GRID[GRID.rindex("[[block]]") :], name="mine")
    with pytest.raises(GridError, match=f"^mine: none of its data sets lies in {tmp_path}: on_disk$"):
        with_available_data(only, installed, tmp_path)
