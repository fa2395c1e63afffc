"""The documented views as Parquet files with a manifest, for whoever has no DuckDB."""

from __future__ import annotations

import hashlib
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
from prunebench.store.ingest import quoted
from prunebench.store.names import quoted_name
from prunebench.store.views import column_comments

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
    described = connection.execute(f"describe {view}").fetchall()
    texts = [f"cast({quoted_name(c[0])} as varchar) as {quoted_name(c[0])}" for c in described if c[1] == "JSON"]
    as_text = f" replace ({', '.join(texts)})" if texts else ""  # other readers take Parquet's JSON type for bytes
    connection.execute(
        f"copy (select *{as_text} from {view}) to {quoted(str(path))} (format parquet, compression zstd)"
    )
    row = connection.execute(f"select count(*) from {view}").fetchone()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    comments = column_comments()
    meanings = comments["column"] | comments.get(view, {})
    columns = [
        {"name": c[0], "type": c[1], "meaning": meanings.get(c[0], "parameter of the method")} for c in described
    ]
    return {"view": view, "file": path.name, "rows": row[0] if row else 0, "sha256": digest, "columns": columns}
