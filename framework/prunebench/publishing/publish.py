"""A folder of results for others: tables that can be joined, views, a card, and a site that opens from the folder."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunebench.errors import StoreError
from prunebench.publishing.card import card
from prunebench.publishing.evaluation import model_index
from prunebench.publishing.site import write_site
from prunebench.store import open_results
from prunebench.store.database import SCHEMA
from prunebench.store.export import export
from prunebench.store.folders import MANIFEST, build_database, manifest_of, write_tables
from prunebench.store.plain import csv_text


def publish(
    database: Path,
    runs: Sequence[str],
    folder: Path,
    publisher: str = "",
    licence: str = "CC-BY-4.0",
    title: str = "",
    views: bool = True,
) -> dict[str, Any]:
    """Write the runs (all of them for none) into the new `folder`; returns the manifest.

    What is written is read back at once: the views and the site are made from the tables as another would join them.
    Without `views` there are no Parquet files of them: joining makes them anew.
    """
    if folder.exists():
        raise StoreError(f"{folder}: already exists; name a new folder")
    partial = folder.with_name(f".{folder.name}.partial-{time.time_ns()}")
    try:
        partial.mkdir(parents=True)
        manifest = _write(database, runs, partial, {"publisher": publisher, "licence": licence, "title": title}, views)
        partial.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _write(database: Path, runs: Sequence[str], folder: Path, said: dict[str, str], with_views: bool) -> dict[str, Any]:
    written = write_tables(database, folder, runs)
    with tempfile.TemporaryDirectory(prefix="prunebench-publish-") as scratch:
        made = Path(scratch) / "results.duckdb"
        build_database(folder, SCHEMA, made)
        views = _write_views(made, folder) if with_views else []
        with open_results(made) as results:
            trials = results.query("select * from trials order by trial_id")
            (folder / "trials.csv").write_text(csv_text(trials.columns, trials.rows()), encoding="utf-8")
            (folder / "evaluation").mkdir()
            (folder / "evaluation" / "model-index.yml").write_text(model_index(results), encoding="utf-8")
            names = [file["view"] for file in views]
            (folder / "README.md").write_text(
                card(results, said["licence"], said["publisher"], names), encoding="utf-8"
            )
            facts = said | {"published_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            trial_count = write_site(results, folder, facts)
    rows = {entry["file"]: entry["rows"] for entry in written}
    rows |= {f"views/{file['file']}": file["rows"] for file in views}
    manifest = manifest_of(folder, facts | {"runs": list(runs), "trials": trial_count}, rows)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _write_views(made: Path, folder: Path) -> list[dict[str, Any]]:
    """Every view as Parquet, with a file that says what its columns mean."""
    views: list[dict[str, Any]] = export(made, folder / "views")["files"]
    (folder / "views" / MANIFEST).rename(folder / "views" / "columns.json")
    return views
