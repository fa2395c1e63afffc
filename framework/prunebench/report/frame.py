"""Frames as a page holds them: safe text, six significant digits, NULL where a number is not finite."""

from __future__ import annotations

from typing import Any

import polars as pl

from prunebench.plugins.chart import Columns
from prunebench.writing import printable

ROWS_AT_MOST = 5000  # of a query that nobody has written with large results in mind


def cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with showable text, short floats and NULL for NaN and infinities; lists and dates become text."""
    return pl.DataFrame([_clean(column) for column in frame.iter_columns()])


def payload(frame: pl.DataFrame, columns: Columns) -> dict[str, Any]:
    """`frame` (cleaned) column by column; words that repeat are stored once."""
    named = [{"name": name, **_described(name, frame[name], columns), **_stored(frame[name])} for name in frame.columns]
    return {"length": frame.height, "columns": named}


def values(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """`frame` (cleaned) row by row, as Vega-Lite takes inline data."""
    return frame.to_dicts()


def thinned(frame: pl.DataFrame, most: int = ROWS_AT_MOST) -> tuple[pl.DataFrame, str]:
    """At most `most` rows of `frame`, evenly spread over its order, and what to say of it; empty where all stay."""
    if frame.height <= most:
        return frame, ""
    step = -(-frame.height // most)
    return frame.gather_every(step), f"Every {_ordinal(step)} of {frame.height:,} rows, to stay light."


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _clean(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        finite = column.is_finite().fill_null(False)
        return pl.select(pl.when(finite).then(column).otherwise(None).round_sig_figs(6).alias(column.name)).to_series()
    if column.dtype.is_decimal():
        return _clean(column.cast(pl.Float64))
    if column.dtype.is_integer() or column.dtype == pl.Boolean:
        return column
    shown = {text: printable(text) for text in column.unique().to_list() if text is not None}
    texts = [None if value is None else shown.get(value, str(value)) for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)


def _described(name: str, column: pl.Series, columns: Columns) -> dict[str, str]:
    default = "number" if column.dtype.is_numeric() else "bool" if column.dtype == pl.Boolean else "text"
    title, kind = columns.get(name, (name.replace("_", " "), default))
    return {"title": printable(title), "kind": kind}


def _stored(column: pl.Series) -> dict[str, Any]:
    if column.dtype != pl.String:
        return {"values": column.to_list()}
    words = column.drop_nulls().unique(maintain_order=True).to_list()
    places = {word: place for place, word in enumerate(words)}
    return {"words": words, "codes": [-1 if word is None else places[word] for word in column.to_list()]}
