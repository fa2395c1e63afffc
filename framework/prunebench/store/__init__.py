"""Where results live: an append-only journal a run, merged into one DuckDB file that people query."""

from __future__ import annotations

from prunebench.store.journal import Damage, Journal
from prunebench.store.merger import MergeReport
from prunebench.store.results import Results, open_results
from prunebench.store.store import Store

__all__ = ["Damage", "Journal", "MergeReport", "Results", "Store", "open_results"]
