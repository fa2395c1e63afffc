"""docs/faults.md says what the tests say."""

from __future__ import annotations

import pytest
from table import ELSEWHERE, PAGE, ROOT, Line, lines, names_in, page


def test_every_number_from_1_to_85_has_its_test() -> None:
    assert {line.number for line in lines()} == set(range(1, 86))


@pytest.mark.parametrize("line", ELSEWHERE, ids=lambda line: str(line.number))
def test_a_test_that_is_named_elsewhere_is_there(line: Line) -> None:
    path, _, name = line.test.partition("::")
    assert name in names_in(ROOT / path)


def test_the_page_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python tests/faults/table.py --write"
