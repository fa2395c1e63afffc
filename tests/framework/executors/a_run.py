"""A run in a process of its own, stopped by signals as `bench run` is: python a_run.py FOLDER METHOD SLOTS."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from executor_toys import ONCE, RUNNER, cpu, toy, work_settings
from prunebench.engine.executors import Finished, Started, WorkerStarted
from prunebench.engine.executors.local import LocalExecutor


def main() -> None:
    folder, method, slots = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    executor = LocalExecutor(cpu(slots), work_settings(folder, {}), ONCE, RUNNER)
    requests: list[int] = []

    def stop(number: int, frame: object) -> None:
        requests.append(number)
        executor.stop(now=len(requests) > 1)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    trials = [toy(method, network, seconds=0.5) for network in range(100)]
    for event in executor.run(trials):
        match event:
            case WorkerStarted():
                print("worker", event.pid, flush=True)
            case Started():
                print("started", event.trial.id, flush=True)
            case Finished():
                print("finished", event.result.trial.id, flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    main()
