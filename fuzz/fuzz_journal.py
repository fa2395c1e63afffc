"""Coverage-guided fuzzing of the journal's reader: any bytes are lines, damages and a torn end, and add up.

`python fuzz/fuzz_journal.py -max_total_time=30` (libFuzzer's options); `pip install atheris` first.
"""

from __future__ import annotations

import sys
import tempfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


def one(data: bytes) -> None:
    """Read `data` as a journal, in one piece and in small ones; raises where something is lost or counted twice."""
    from prunebench.store.journal import read_tails

    with tempfile.NamedTemporaryFile(suffix=".jsonl", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        whole = list(read_tails(path))
        pieces = list(read_tails(path, chunk=64))
    for tails in (whole, pieces):
        last = tails[-1]
        assert last.stopped or last.end + last.torn_bytes == len(data)
        assert last.stopped or last.line_count == data.count(b"\n")
    for what in ("results", "runs", "damages"):
        found = [[one for tail in tails for one in getattr(tail, what)] for tails in (whole, pieces)]
        assert found[0] == found[1]


def outcomes(data: bytes) -> None:
    """As `one`, and what a reader without a database makes of it; every line gets its right checksum first."""
    from prunebench.store.journal import read_tails
    from prunebench.store.tails import tail_outcomes

    one(data)
    lines = []
    for line in data.split(b"\n"):
        crc = zlib.crc32(line, zlib.crc32(b"result"))
        lines.append(b'{"prunebench":1,"crc":"%08x","kind":"result","record":%s}\n' % (crc, line))
    one(b"".join(lines))
    with tempfile.NamedTemporaryFile(suffix=".jsonl", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        file.write(b"".join(lines))
        file.flush()
        for tail in read_tails(Path(file.name)):
            assert len(tail.results) + len(tail.damages) == tail.line_count
            for trial_id, status, started_at, attempt in tail_outcomes(tail):
                assert isinstance(trial_id + status + started_at, str) and isinstance(attempt, int)


def samples_of(folder: Path) -> None:
    """A real journal and its lines, to begin with."""
    import store_samples as samples
    from prunebench.store import Store

    store = Store(folder / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial(), status="failed", measurement=None, reason="broke"))
    whole = store.journals()[0].read_bytes()
    (folder / "whole").write_bytes(whole)
    (folder / "body").write_bytes(whole.splitlines()[1].split(b'"record":', 1)[1][:-1])


def main() -> None:
    """Under libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["prunebench.store"]):
        import prunebench.store.journal
        import prunebench.store.store  # noqa: F401
    with tempfile.TemporaryDirectory() as name:
        samples_of(Path(name))
        atheris.Setup([sys.argv[0], "-timeout=20", "-max_len=8192", *sys.argv[1:], name], outcomes)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
