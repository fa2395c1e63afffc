"""What the author of a chart subclasses, Chart; and the Look that `draw` is handed."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from prunebench.errors import PluginError

Columns = Mapping[str, tuple[str, str]]  # name -> (title, kind)
COLUMN_KINDS = ("text", "bool", "integer", "number", "share", "points", "ratio", "ms", "seconds", "bytes")


class Look(Protocol):
    """How a report draws: a method keeps its colour and its mark in every chart."""

    @property
    def on_page(self) -> bool:
        """Whether a page with a legend of its own steers the chart; otherwise it stands alone."""

    @property
    def names(self) -> Sequence[str]:
        """The methods that are drawn, in the order of their colours."""

    def colour(self, legend: bool = True) -> Any:
        """An `alt.Color` by the column `method`, safe for colour-blind readers, for both themes."""

    def shape(self) -> Any:
        """An `alt.Shape` by the column `method`, which tells methods apart without colour."""

    def faded(self, strong: float, weak: float = 0.1) -> Any:
        """An opacity: `weak` while the reader has chosen other settings in another chart."""

    def axis(self, kind: str, title: str) -> Mapping[str, Any]:
        """Scale, axis and title for `alt.X` or `alt.Y`: kind "ratio" (logarithmic, 2×, 4×), "share" (%) or "number"."""

    def tips(self, *columns: tuple[str, str, str]) -> Sequence[Any]:
        """A tooltip that names the setting, and then `columns`: (column, title, d3 format)."""


@dataclass(frozen=True)
class Chart(ABC):
    """One query and one function that draws its rows; the docstring describes it, also for readers who cannot see it.

    The query stands beside the module, in `NAME.sql` (or is the class attribute `sql`). It begins with the words
    `with scope as (select trial_id from trials)`, so that it runs as it is in `bench query` and a report narrows it,
    and returns `panel` (what is drawn side by side: data set and model), mostly with `method`, `setting`, `control`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str] = ""  # a link
    api_version: ClassVar[int] = 1
    empty: ClassVar[str] = "There is nothing to draw here."  # what is said instead of marks
    columns: ClassVar[Columns] = {}  # column -> (title, kind of COLUMN_KINDS), for the table behind the chart
    is_wide: ClassVar[bool] = False  # takes the whole width of a page

    @abstractmethod
    def draw(self, rows: Any, look: Look) -> Any:
        """The Altair chart, single or layered, of one panel; `rows` goes into `alt.Chart(rows)`."""

    @property
    def about(self) -> str:
        """The docstring in one paragraph."""
        return " ".join((inspect.getdoc(type(self)) or "").split())

    @property
    def sql(self) -> str:
        """The query; raises PluginError where there is none."""
        path = Path(inspect.getfile(type(self))).with_name(f"{self.name}.sql")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PluginError(f"chart {self.name} has no query: {path} cannot be read ({error})") from None
