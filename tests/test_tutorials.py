"""The tutorials show what their commands print: they are run again, one page after another, and compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("tutorials", ROOT / "docs" / "make" / "tutorials.py")
assert spec is not None and spec.loader is not None
tutorials = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tutorials)


def shown(name: str) -> list[str]:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return [block["text"] for block in tutorials.BLOCK.finditer(page) if block["language"] == "console"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_tutorials_show_what_their_commands_print(tmp_path: Path):
    for name in tutorials.PAGES:
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        made = list(tutorials.run(page, tmp_path))
        assert list(map(tutorials.masked, made)) == list(map(tutorials.masked, shown(name))), (
            f"{name} is not what its commands print: python docs/make/tutorials.py"
        )


@pytest.mark.parametrize("name", tutorials.PAGES)
def test_every_command_of_a_tutorial_has_its_output(name: str):
    texts = shown(name)
    assert texts
    for text in texts:
        assert text.startswith("$ ") and tutorials.commands_of(text)
        assert any(not line.startswith(("$ ", "  ")) for line in text.splitlines()), f"{name}: {text} shows no output"


def test_a_command_that_fails_is_no_tutorial(tmp_path: Path):
    with pytest.raises(RuntimeError, match="ended with 2"):
        tutorials.printed("bench plan --grid nothing.toml", tmp_path)


def test_masks_hide_what_varies_and_nothing_else():
    line = "2 ok in 114 s; 21,214 weights  0.89x faster mine-20261127-130258-8195"
    assert tutorials.masked("mine-20261127-130258-8195  mine  8  26") == "mine-RUN mine 8 SECONDS"
    assert tutorials.masked(line) == "2 ok in SECONDS; 21,214 weights NUMBERx VERDICT mine-RUN"
