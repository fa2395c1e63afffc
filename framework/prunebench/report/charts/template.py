"""Queries that several charts share, with the few words that differ filled in."""

from __future__ import annotations

from importlib import resources
from string import Template


def filled(name: str, **words: str) -> str:
    """`NAME.sql` of this folder with `$word` replaced."""
    text = resources.files("prunebench.report.charts").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(words)
