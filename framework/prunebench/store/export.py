"""The documented views as Parquet files with a manifest, for whoever has no DuckDB."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import StoreError, did_you_mean
from prunebench.store import database as db
from prunebench.store.catalog import open_catalog
from prunebench.store.parquet import write_parquet
from prunebench.store.views import column_comments
from prunebench.writing import file_sha256

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def export(database: Path, folder: Path, views: Sequence[str] = (), run_id: str = "") -> dict[str, Any]:
    """Write `<view>.parquet` and `manifest.json` into the new `folder`; returns the manifest."""
    known = list(column_comments()["view"])
    for view in views:
        if view not in known:
            raise StoreError(f"no view {view!r}{did_you_mean(view, known)}; there are {', '.join(known)}")
    if folder.exists():
        raise StoreError(f"{folder}: already exists; name a new folder")
    partial = folder.with_name(f".{folder.name}.partial-{time.time_ns()}")
    try:
        partial.mkdir(parents=True)
        manifest = _write(database, partial, views or known, run_id)
        partial.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _write(database: Path, folder: Path, views: Sequence[str], run_id: str) -> dict[str, Any]:
    connection = db.connect()
    try:
        open_catalog(connection, database, run_id)
        files = [_write_view(connection, view, folder) for view in views]
    finally:
        connection.close()
    manifest = {
        "prunebench": metadata.version("prunebench"),
        "schema": db.SCHEMA,
        "exported_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "database": database.name,
        "run": run_id or None,
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _write_view(connection: DuckDBPyConnection, view: str, folder: Path) -> dict[str, Any]:
    """Write one view; its line of the manifest."""
    path = folder / f"{view}.parquet"
    written = write_parquet(connection, f"select * from {view}", path)
    comments = column_comments()
    meanings = comments["column"] | comments.get(view, {})
    columns = [
        {"name": name, "type": kind, "meaning": meanings.get(name, "parameter of the method")}
        for name, kind in written.columns
    ]
    digest = file_sha256(path)
    return {"view": view, "file": path.name, "rows": written.row_count, "sha256": digest, "columns": columns}
