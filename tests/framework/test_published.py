"""A paper's files: numbers in, rows and SQL out, faults named."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from prunebench import DataError
from prunebench.plugins.published import paper_text, published_rows, with_published


def write(folder: Path, text: str) -> Path:
    path = folder / "published.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_texts_by_column(tmp_path: Path) -> None:
    path = write(tmp_path, 'model,setting,value\nalexnet,"a, b",1.5\nvgg,,2\n')
    assert published_rows(path, ("model", "value")) == [
        {"model": "alexnet", "setting": "a, b", "value": "1.5"},
        {"model": "vgg", "setting": "", "value": "2"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,setting\nalexnet,1\n", "has no column 'value'; it has model, setting"),
        ("", "has no column 'model'; it has none"),
        ("model,value\n", "has no rows"),
        ("model,value\nalexnet\n", r"published.csv:2: the line must have one value per column"),
        ("model,value\nalexnet,1,2\n", r"published.csv:2: the line must have one value per column"),
    ],
)
def test_a_csv_that_is_not_in_order_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        published_rows(write(tmp_path, text), ("model", "value"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"published.csv cannot be read"):
        published_rows(tmp_path / "published.csv", ())
    with pytest.raises(DataError, match=r"full.toml cannot be read"):
        paper_text(tmp_path / "full.toml")


def test_sql_gets_numbers_as_numbers_and_nothing_as_null() -> None:
    rows = [{"table": "1", "name": "it's", "value": "0.5"}, {"table": "2", "name": "", "value": ""}]
    sql = with_published('with p as ($published) select "table" + 1, name, value from p order by 1', rows)
    assert duckdb.sql(sql).fetchall() == [(2, "it's", 0.5), (3, None, None)]


def test_a_column_with_one_text_is_text() -> None:
    rows = [{"value": "1"}, {"value": "K=2"}]
    assert duckdb.sql(with_published("select value from ($published) order by 1", rows)).fetchall() == [
        ("1",),
        ("K=2",),
    ]
