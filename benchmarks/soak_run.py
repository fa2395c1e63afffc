"""One run as `bench run` makes it, with journal, merges and signals, over trials that need no torch.

`python benchmarks/soak_run.py DATABASE FIRST COUNT [SECONDS]` runs trials FIRST to FIRST + COUNT of SECONDS each that
the database does not have, and prints `worker PID SLOT`, `finished ID` (acknowledged) and `end`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from prunebench.engine.executors import Finished, RetryPolicy, Slot, Started, WorkerStarted, WorkSettings
from prunebench.engine.executors.local import LocalExecutor
from prunebench.engine.session import Outcome, Prepared, check_writable, execute
from prunebench.errors import PruneBenchError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import Plan
from prunebench.plugins.discovery import Installed
from prunebench.records import Choice, Protocol, Trial
from prunebench.store import Store

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 20.0


def trials(first: int, count: int, seconds: float = 0.1) -> tuple[Trial, ...]:
    """Trials of the soak runner; thirty in a row share a network. As in a plan, equal parts are one object."""
    net, protocol, planned = Choice("soak"), Protocol(), []
    for index in range(first, first + count):
        width = index // 30
        model = planned[-1].model if planned and planned[-1].model.params["width"] == width else None
        method = Choice("naps", {"seconds": seconds, "index": index})
        planned.append(Trial(net, model or Choice("net", {"width": width}), method, 0, protocol))
    return tuple(planned)


def run(database: Path, planned: tuple[Trial, ...], slots: int = 2) -> Outcome:
    """What `bench run` does after planning."""
    check_writable(database.parent)
    for trial in planned:  # a plan has compared all its trials and put those of one network together
        _ = trial.id, trial.network_id
    store = Store(database)
    done = store.finished([trial.id for trial in planned])
    todo = tuple(trial for trial in planned if trial.id not in done)
    prepared = Prepared(Plan(Grid("soak", ()), planned), Installed(), store, done, todo)
    settings = WorkSettings(
        str(database.parent), str(database.parent), timeout_seconds=TIMEOUT_SECONDS, log_dir=str(database.parent)
    )
    places = tuple(Slot(f"cpu:{index}", "cpu", visible="") for index in range(slots))
    workers = LocalExecutor(places, settings, RetryPolicy(), "soak_runner:open_workbench")
    outcome = Outcome("soak", database, len(planned), len(done))
    execute(prepared, workers, outcome, tell)
    return outcome


def tell(event: Any) -> None:
    """For whoever listens."""
    match event:
        case WorkerStarted():
            print("worker", event.pid, event.slot, flush=True)
        case Started():
            print("started", event.trial.id, flush=True)
        case Finished():
            print("finished", event.result.trial.id, flush=True)


def main() -> int:
    """The exit codes of `bench run`."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 0.1
    try:
        outcome = run(Path(sys.argv[1]), trials(int(sys.argv[2]), int(sys.argv[3]), seconds))
    except PruneBenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    print("end", flush=True)
    return 130 if outcome.interrupted else 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
