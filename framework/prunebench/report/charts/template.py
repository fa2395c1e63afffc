"""Queries that several charts share, with the few words that differ filled in."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from string import Template
from textwrap import indent

FRAGMENTS = "fragments"


def filled(name: str, **words: str) -> str:
    """`NAME.sql` of this folder, with fragments where a line begins with one and `$word` replaced."""
    pieces = _fragments()

    def put(found: re.Match[str]) -> str:
        margin, word = found.groups()
        return indent(pieces[word], margin) if word in pieces else found[0]

    return Template(re.sub(r"^( *)\$(\w+)", put, _read(name), flags=re.M)).substitute(words)


@cache
def _fragments() -> dict[str, str]:
    """The pieces of SQL that several queries share, by name."""
    found = re.findall(r"^-- \$(\w+):.*\n((?:.+\n)+)", _read(FRAGMENTS), flags=re.M)
    return {name: sql.rstrip() for name, sql in found}


def _read(name: str) -> str:
    return resources.files("prunebench.report.charts").joinpath(f"{name}.sql").read_text(encoding="utf-8")
