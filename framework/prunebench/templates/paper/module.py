"""A publication as a grid: its experiments, its published numbers, its claims."""

from pathlib import Path

from prunebench import Paper, hookimpl


class $cls(Paper):
    """What the paper shows, in one line."""

    name = "$dash"
    title = "The title of the paper"
    citation = "A. Author. The title of the paper. Journal, 2026."
    paper = "https://example.org/paper"
    folder = Path(__file__).parent


@hookimpl
def papers():
    return [$cls]
