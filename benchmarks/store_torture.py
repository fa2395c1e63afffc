"""What the store loses when it is killed, and what readers notice of writers: nothing, this shows.

    python benchmarks/store_torture.py kills [--kills 200]
    python benchmarks/store_torture.py crowd [--seconds 60]

`kills`: two runs at once append and merge; one of them is killed (SIGKILL) at a random moment, again and again, while
readers open the file. `crowd`: two runs write, three readers query, one of them by a bare read-only connection that
knows nothing of us. At the end every acknowledged result has to be in the database exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import store_samples as samples
from prunebench.records import Choice
from prunebench.store import Store, open_results, publish
from prunebench.store.sealed_client import sealed_query

MERGE_EVERY_SECONDS = 0.15
SLEEP_SECONDS = 150  # of all waits between kills, on average: so that 200 kills and their tally end within ten minutes


@dataclass
class Writer:
    """A child process that acknowledges each result with a line in a pipe."""

    run_id: str
    pid: int
    pipe: int
    acknowledged: list[str] = field(default_factory=list)
    rest: bytes = b""

    def read(self) -> None:
        """Take in what has been acknowledged so far."""
        while select.select([self.pipe], [], [], 0)[0]:
            data = os.read(self.pipe, 1 << 16)
            if not data:
                return
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.acknowledged += [line.decode() for line in lines]

    def end(self) -> None:
        """Kill it, at whatever it is doing."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.read()
        os.close(self.pipe)


def start_writer(path: Path, run_id: str, has_spares: bool, pause: float = 0.0) -> Writer:
    """Fork a run that appends until it is killed, and merges in between."""
    read, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        return Writer(run_id, pid, read)
    try:
        _write_for_ever(path, run_id, has_spares, write, pause)
    finally:
        os._exit(1)


def _write_for_ever(path: Path, run_id: str, has_spares: bool, pipe: int, pause: float) -> None:
    if has_spares:
        publish.SPARE_FROM_BYTES = 0
    store, number, last = Store(path), 0, time.monotonic()
    journal = store.open_run(samples.run(run_id))
    while True:
        method = Choice("dense") if number % 10 == 0 else Choice("low_rank", {"rank": number % 10})
        trial = samples.trial(method=method, dataset=Choice(f"set_{run_id}"), seed=number // 10)
        journal.append(samples.result(trial))
        os.write(pipe, f"{trial.id}\n".encode())
        number += 1
        time.sleep(pause)
        if time.monotonic() - last > MERGE_EVERY_SECONDS:
            store.merge()
            last = time.monotonic()


def kills(path: Path, count: int, rng: random.Random) -> dict[str, object]:
    """Kill writers `count` times; what was lost, doubled or could not be opened."""
    acknowledged: dict[str, list[str]] = {}
    begin = time.monotonic()
    writers = [start_writer(path, f"first-{i}", bool(i), 0.01) for i in range(2)]
    while not path.exists():
        time.sleep(0.01)
    span = max(0.5, time.monotonic() - begin)  # on a busy machine a kill has to reach into merges too
    span = min(span, 2 * SLEEP_SECONDS / count)
    pauses = (span / 200, span / 50)  # how much there is to count follows from the kills, not from the disk's speed
    failed_opens, opens, unseen, looks = 0, 0, 0, 0
    published = {path.stat().st_mtime_ns}
    for number in range(count):
        time.sleep(rng.uniform(0.01, span))
        published.add(path.stat().st_mtime_ns)
        victim = writers.pop(rng.randrange(2))
        victim.end()
        acknowledged[victim.run_id] = victim.acknowledged
        writers.append(start_writer(path, f"run-{number}", rng.random() < 0.5, rng.choice(pauses)))
        failed_opens += not opens_plainly(path)
        opens += 1
        if number % 4 == 0:
            looks += 1
            unseen += len(set(victim.acknowledged) - set(Store(path).finished(victim.acknowledged)))
    for writer in writers:
        writer.end()
        acknowledged[writer.run_id] = writer.acknowledged
    return {
        "kills": count, "longest_wait": round(span, 2), "published_between_kills": len(published),
        "plain_opens": opens, "failed_opens": failed_opens, "looks": looks, "unseen_at_once": unseen,
        **tally(path, acknowledged),
    }  # fmt: skip


def opens_plainly(path: Path) -> bool:
    """Whether someone who knows nothing of us can read the file."""
    if not path.exists():
        return True
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute("select count(*) from trials").fetchall()
    except duckdb.Error as error:
        print(error, file=sys.stderr)
        return False
    return True


def crowd(path: Path, seconds: float, rng: random.Random) -> dict[str, object]:
    """Writers and readers for a while; the readers' errors and the writers' losses."""
    writers = [start_writer(path, f"run-{i}", bool(i), 0.01) for i in range(2)]
    while not path.exists():
        time.sleep(0.05)
    readers = [_fork_reader(read, path, seconds) for read in (_read_barely, _read_results, _read_sealed)]
    for reader, _ in readers:
        os.waitpid(reader, 0)
    for writer in writers:
        writer.end()
    counts = [json.loads(os.read(pipe, 1 << 16)) for _, pipe in readers]
    names = ("bare connection", "open_results", "sealed query")
    return {
        "seconds": seconds, "readers": dict(zip(names, counts, strict=True)),
        **tally(path, {writer.run_id: writer.acknowledged for writer in writers}),
    }  # fmt: skip


def _fork_reader(read: Callable[[Path], None], path: Path, seconds: float) -> tuple[int, int]:
    pipe, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        return pid, pipe
    done, errors = 0, []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            read(path)
        except Exception as error:
            errors.append(str(error)[:300])
        done += 1
    os.write(write, json.dumps({"reads": done, "errors": len(errors), "first": errors[:1]}).encode())
    os._exit(0)


def _read_barely(path: Path) -> None:
    with duckdb.connect(str(path), read_only=True) as connection:
        for _ in range(5):
            connection.execute("select method, avg(top1_accuracy) from trials group by 1").fetchall()
            time.sleep(0.05)


def _read_results(path: Path) -> None:
    with open_results(path) as results:
        results.query("select count(*) from trial_means")


def _read_sealed(path: Path) -> None:
    sealed_query(path, "select count(*) from speedups")


def tally(path: Path, acknowledged: dict[str, list[str]]) -> dict[str, object]:
    """Acknowledged against stored, after one last merge and after a rebuild."""
    store = Store(path)
    report = store.merge(wait_seconds=30)
    faults = [fault for fault in store.check() if "its last line has no end" not in fault]
    merged = _missing(path, acknowledged)
    store.rebuild()
    rebuilt = _missing(path, acknowledged)
    return {
        "acknowledged": sum(map(len, acknowledged.values())), "lost": merged[0], "twice": merged[1],
        "lost_after_rebuild": rebuilt[0], "twice_after_rebuild": rebuilt[1], "torn": len(report.torn),
        "damages": len(report.damages), "faults": faults, "set_aside": len(list(path.parent.glob("*.corrupt-*"))),
        "file_kib": path.stat().st_size >> 10,
    }  # fmt: skip


def _missing(path: Path, acknowledged: dict[str, list[str]]) -> tuple[int, int]:
    with open_results(path) as results:
        rows = results.query("select run_id, trial_id, count(*) from attempts group by all").rows()
    stored = {(run_id, trial_id): count for run_id, trial_id, count in rows}
    wanted = {(run_id, trial_id) for run_id, ids in acknowledged.items() for trial_id in ids}
    return len(wanted - set(stored)), sum(count > 1 for count in stored.values())


def main() -> int:
    """Print one line of JSON; exit 1 if anything was lost, doubled or unreadable."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "crowd"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="store-torture-") as folder:
        path, rng = Path(folder) / "results.duckdb", random.Random(options.seed)
        start = time.monotonic()
        many = options.what == "kills"
        found = kills(path, options.kills, rng) if many else crowd(path, options.seconds, rng)
    print(json.dumps({"what": options.what, **found, "wall_seconds": round(time.monotonic() - start)}))
    readers = found.get("readers", {})
    errors = sum(reader["errors"] for reader in readers.values()) if isinstance(readers, dict) else 0
    bad = (found["lost"], found["twice"], found["lost_after_rebuild"], found.get("failed_opens"), found["faults"])
    return 1 if any(bad) or errors else 0


if __name__ == "__main__":
    sys.exit(main())
