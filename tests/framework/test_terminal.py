"""Tables fit the terminal: nothing is blank, nothing is cut without a sign, and a name can be copied whole."""

from __future__ import annotations

import pytest
from prunebench.cli import tables
from prunebench.cli.terminal import Sheet, fitted, width_of
from prunebench.store.plain import csv_text


def sheet(columns: int, rows: int) -> Sheet:
    """Cells that tell their place."""
    names = tuple(f"column_{number}" for number in range(columns))
    cells = tuple(tuple(f"cell-{row}-{number}" for number in range(columns)) for row in range(rows))
    return Sheet(names, cells, (False,) * columns)


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_a_wide_table_leaves_out_its_middle_and_says_so(width: int) -> None:
    made = fitted(sheet(90, 2), width)
    lines = [made.head, *made.lines]
    assert all(width_of(line) <= width for line in lines)
    assert all("…" in line for line in lines)
    assert lines[1].startswith("cell-0-0") and len(lines) == 3
    shown = sum(name != "…" for name in made.head.split())
    assert shown > 1 or width == 20
    assert made.left_out.startswith(f"{90 - shown} of 90 columns are not shown at {width}")
    if width >= 40:
        assert lines[1].endswith("cell-0-89")


def test_one_record_is_a_list_of_every_column() -> None:
    made = fitted(sheet(90, 1), 80)
    assert [line.split() for line in made.lines] == [[f"column_{n}", f"cell-0-{n}"] for n in range(90)]


def test_what_fits_is_as_it_was() -> None:
    made = fitted(sheet(3, 2), 80)
    assert made.head.split() == ["column_0", "column_1", "column_2"] and not made.left_out


def test_spare_columns_go_first_and_texts_fold_at_words() -> None:
    text = "a sentence of many words that is longer than what a narrow terminal has left of its line"
    wide = Sheet(("name", "what", "paper"), (("a" * 30, text, "b" * 30),), (False,) * 3)
    made = fitted(wide, 80, spare=("paper", "what"))
    assert made.lines[0].startswith("a" * 30 + "  ") and not any("bbb" in line for line in made.lines)
    assert " ".join(line[30:].strip() for line in made.lines) == text
    assert "paper" in made.left_out and "what" not in made.left_out.split(":")[1]


@pytest.mark.parametrize("width", [30, 80])
def test_wide_characters_and_long_words_keep_to_the_width(width: int) -> None:
    cells = ("量" * 70, "x" * 200, "two words " * 30)
    made = fitted(Sheet(("a", "b", "c"), (cells, cells), (False,) * 3), width)
    assert all(width_of(line) <= width for line in (made.head, *made.lines))
    record = fitted(Sheet(("a", "b", "c"), (cells,), (False,) * 3), width)
    assert all(width_of(line) <= width for line in record.lines)
    told = "".join(line.removeprefix("a").removeprefix("b").removeprefix("c").strip() for line in record.lines)
    assert told.replace(" ", "") == "".join(cells).replace(" ", "")


@pytest.mark.parametrize("form", [csv_text, tables.json_text, tables.markdown_text, tables.latex_text])
def test_equal_names_are_told_apart_alike_in_every_format(form) -> None:
    text = form(["a", "A", "a"], [[1, 2, 3]]).replace("\\_", "_")
    assert "A_2" in text and "a_3" in text
