"""Saved queries: packaged SQL files whose first comment says what they show."""

from __future__ import annotations

from importlib import resources

from prunebench.errors import QueryError, did_you_mean


def saved_queries() -> dict[str, str]:
    """Name -> what it shows."""
    folder = resources.files("prunebench.store").joinpath("queries")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return {file.name[:-4]: file.read_text(encoding="utf-8").splitlines()[0].removeprefix("-- ") for file in files}


def saved_query(name: str) -> str:
    """The SQL of a saved query; raises QueryError naming the others."""
    known = saved_queries()
    if name not in known:
        raise QueryError(f"no saved query {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    return resources.files("prunebench.store").joinpath(f"queries/{name}.sql").read_text(encoding="utf-8")
