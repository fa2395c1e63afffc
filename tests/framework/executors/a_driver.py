"""A run on a cluster in a process of its own: python a_driver.py ADDRESS FOLDER COUNT."""

from __future__ import annotations

import sys
from pathlib import Path

from executor_toys import RUNNER, toy, work_settings
from prunebench.engine.executors import Finished, RetryPolicy, WorkerStarted, make_executor
from prunebench.errors import PruneBenchError


def main() -> None:
    address, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    settings = work_settings(folder, {"log_dir": None})
    try:
        executor = make_executor("ray", "cuda", settings, RetryPolicy(killed=2), runner=RUNNER, address=address)
        for event in executor.run([toy("sleeps", network, seconds=0.5) for network in range(count)]):
            match event:
                case WorkerStarted():
                    print("worker", event.pid, flush=True)
                case Finished():
                    print("finished", event.result.trial.id, flush=True)
    except PruneBenchError as error:
        print(f"error: {error}", flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
