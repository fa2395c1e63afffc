"""What is written elsewhere: text into SQL and messages, files whole or not at all."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from prunebench.writing import escape, fits_in_64_bits, quoted, quoted_name, short, write_whole


@pytest.mark.parametrize("text", ["", "it's", "''", "a\nb", "$name", '"', "é—∞"])
def test_quoted_text_and_names_come_back_from_sql_as_they_were(text: str) -> None:
    name = text or "x"
    found = duckdb.sql(f"select {quoted(text)} as {quoted_name(name)}")
    assert (found.columns, found.fetchall()) == ([name], [(text,)])


def test_a_value_in_a_message_is_cut_at_its_limit() -> None:
    assert short("a" * 10) == "'aaaaaaaaaa'"
    assert short("a" * 100) == "'" + "a" * 58 + "…"
    assert [fits_in_64_bits(value) for value in (2**63 - 1, 2**63, -(2**63), -(2**63) - 1)] == [
        True,
        False,
        True,
        False,
    ]


def test_a_character_is_escaped_by_its_number() -> None:
    assert [escape(c) for c in ("\x1b", "\u200e", "\U000e0001")] == ["\\x1b", "\\u200e", "\\U000e0001"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_or_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    path = tmp_path / "new" / "file"
    write_whole(path, b"first", durable=durable)
    write_whole(path, b"second", durable=durable)
    assert path.read_bytes() == b"second"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"third", durable=durable)
    assert path.read_bytes() == b"second" and list(path.parent.iterdir()) == [path]
