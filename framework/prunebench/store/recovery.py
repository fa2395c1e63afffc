"""A damaged database set aside: what can be read of it goes among the journals, what is lost is counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import StoreError
from prunebench.store.journal import folder_of, journals_of, read_tails
from prunebench.store.publish import UNREAD, set_aside
from prunebench.store.salvage import Key, Salvaged, salvage
from prunebench.writing import file_sha256

if TYPE_CHECKING:
    from prunebench.store.merger import MergeReport


OURS = "corrupt"  # in the name of a damaged file that merges wrote here: the journals should have all of it


@dataclass(frozen=True)
class Recovered:
    """Where the damaged file is now, the sound one with what was read of it (None: nothing), and what that was."""

    moved: Path
    kept: Path | None
    found: Salvaged
    known: int | None  # results that the damaged file had; None where nobody can say


def recover(path: Path, database: Path, known: int | None, must: bool = False, why: str = "") -> Recovered:
    """Move the damaged `path` aside; a file among the journals of `database` has what can be read and they have not.

    `known` is how many results it had, where something beside it says so. With `must`, a file of which nothing can be
    read stays where it is and StoreError is raised. `why` is in the file's new name; by default what is found decides.
    """
    content, folder = file_sha256(path), folder_of(database)
    made = folder / f"import-{content[:16]}.salvaged"
    made.unlink(missing_ok=True)
    try:
        found = salvage(path, made, content[:8], _carried(database), _sound_copies(database, path))
        if must and not found.result_count:
            raise StoreError(
                f"{path}: no result of it can be read{_of(found.total)} and no journal here has them; copy the file "
                "again from where it came"
            )
        known = found.total if known is None else known
        whole = known is not None and known <= found.read_count and not _details(found)
        moved = set_aside(path, why or (OURS if whole else UNREAD))
        kept = folder / f"import-{content[:16]}.duckdb" if found.result_count else None
        if kept:
            write_count(kept, found.result_count)
            made.rename(kept)
        return Recovered(moved, kept, found, known)
    finally:
        made.unlink(missing_ok=True)


def _carried(database: Path) -> set[Key]:
    """The results that journals have."""
    from prunebench.store.tails import tail_keys

    return {key for path in journals_of(database) for tail in read_tails(path) for key in tail_keys(tail)}


def _sound_copies(database: Path, damaged: Path) -> list[Path]:
    return [path for path in sorted(folder_of(database).glob("import-*.duckdb")) if path != damaged]


def _of(total: int | None) -> str:
    return "" if total is None else f", of {total}"


def _details(found: Salvaged) -> str:
    """What is missing of the results that could be read."""
    rows = f", and {found.part_count} rows of details ({', '.join(found.parts)}) are lost" if found.part_count else ""
    return rows + (f"; what is known of their {', '.join(found.unnamed)} is lost" if found.unnamed else "")


def tell(recovered: Recovered, what: str, report: MergeReport) -> None:
    """Say in one line what is back and what is lost; remembered beside the file, for `bench db check`."""
    found, known, details = recovered.found, recovered.known, _details(recovered.found)
    lost = None if known is None else max(0, known - found.read_count)
    line = f"{what}: could not be read, moved to {recovered.moved.name}; "
    if lost == 0 and not details:
        report.notes.append(f"{line}all of its {known} results could be read")
        return
    counted = "how many are lost nobody can count" if lost is None else f"{lost} are lost"
    loss = f"{found.read_count} of its results could be read, {counted}{details}"
    report.lose(line + loss)
    loss_of(recovered.moved).write_text(f"{loss}\n")


def tell_missing(recovered: Recovered, rebuilt_count: int, report: MergeReport) -> None:
    """Say how many results of a file that merges wrote here are neither in journals nor could be read, if any."""
    if recovered.known is None or recovered.known <= rebuilt_count:
        return
    counted = f"{recovered.known - rebuilt_count} of its results are in no journal and could not be read: they are lost"
    moved = recovered.moved.rename(recovered.moved.with_name(recovered.moved.name.replace(f".{OURS}-", f".{UNREAD}-")))
    report.lose(f"{moved}: {counted}")
    loss_of(moved).write_text(f"{counted}\n")


def loss_of(moved: Path) -> Path:
    """Where it is remembered what was lost with a file that was set aside."""
    return moved.with_name(f"{moved.name}.txt")


def write_count(copy: Path, count: int) -> None:
    """Remember beside a copy among the journals how many results it has: should it be damaged, this is still known."""
    copy.with_suffix(".count").write_text(f"{count}\n")


def count_beside(copy: Path) -> int | None:
    """How many results the copy had when it was made; None where nothing says so."""
    try:
        return int(copy.with_suffix(".count").read_text())
    except (OSError, ValueError):
        return None
