"""The papers that come with prunebench, as grids, published numbers and claims."""

from __future__ import annotations

from prunebench import Paper, hookimpl

from prunebench_papers import founding, headlines, language


@hookimpl
def papers() -> list[type[Paper]]:
    """The founding papers whole, others by their headline result, language models by tables."""
    return [*founding.PAPERS, *headlines.PAPERS, *language.PAPERS]
