"""How busy the scheduler keeps many devices, and what it costs: the real supervision code under a virtual clock.

    python benchmarks/scheduler_simulation.py [--devices 64] [--trials 10000] [--seed 0 | --seeds 8]

Networks train for minutes, trials take seconds to minutes (both log-normal, as on one GPU), groups differ in size;
some workers die, some run out of memory, some hang until the deadline. The bound is the work divided by the devices,
or the longest chain of one training and one trial, whichever is longer. A trial that hangs when the others are nearly
done holds the end until its deadline, and no order of the work can know of it before: what the end of the last hang
adds to the bound is lost behind it, and the last share is that of the time until only hung trials are left.
Everything the supervisor does is counted as its CPU time, decoding of the results included; what the simulated
workers cost is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import itertools
import json
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prunebench.engine.executors import Finished, RetryPolicy, Slot
from prunebench.engine.executors.supervisor import Supervisor
from prunebench.engine.executors.transport import Exited, Happening, Said
from prunebench.engine.worker.messages import Order, Report
from prunebench.records import Choice, Latency, Measurement, Protocol, Result, Status, Trial, decode, encode

TIMEOUT_SECONDS = 600.0  # a hang that begins in the last minutes is a tail that no order avoids
START_SECONDS = 4.0
TRAIN_MEDIAN_SECONDS, TRIAL_MEDIAN_SECONDS, SPREAD = 120.0, 20.0, 0.6
FAULTS = {"killed": 0.004, "oom": 0.003, "hang": 0.0003, "failed": 0.01}


class VirtualCluster:
    """A `Transport` whose workers only pretend: their happenings lie on a heap, and `wait` moves the clock."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.work_seconds = 0.0  # that devices were occupied by trials
        self.longest_seconds = 0.0
        self.hangs_began: list[float] = []
        self.own_cpu_seconds = 0.0  # of the simulation
        self.trained: set[str] = set()
        self.trained_twice = 0
        self._heap: list[tuple[float, int, str, int, Callable[[], list[Happening]]]] = []
        self._life: dict[str, int] = {}
        self._order = itertools.count()
        self._random = random.Random(seed)
        self._training: dict[str, str] = {}  # network -> the slot that trains it
        self._busy_since: dict[str, float] = {}
        self._measurement = typical_measurement()

    def clock(self) -> float:
        """Virtual seconds."""
        return self.now

    def start(self, slot: Slot) -> None:
        """Ready after a while."""
        self._life[slot.name] = self._life.get(slot.name, 0) + 1
        ready = Said(slot.name, encode(Report("ready", pid=1)))
        self._later(START_SECONDS, slot.name, lambda: [ready])

    def send(self, slot: str, line: bytes) -> None:
        """The worker will have done it, or died of it, at a time drawn now."""
        began = time.process_time()
        order = decode(line, Order)
        seconds = self._random.lognormvariate(0, SPREAD) * TRIAL_MEDIAN_SECONDS
        network = order.trial.network_id
        if network not in self.trained:
            self.trained_twice += network in self._training
            self._training[network] = slot
            seconds += self._random.lognormvariate(0, SPREAD) * TRAIN_MEDIAN_SECONDS
        self._busy_since[slot] = self.now
        self._later(0.0, slot, lambda: [Said(slot, encode(Report("begun")))])
        fate = self._fate(order)
        if fate == "hang":
            self.hangs_began.append(self.now)
        else:
            self._later(seconds, slot, lambda: self._end(slot, order, fate, seconds))
        self.own_cpu_seconds += time.process_time() - began

    def kill(self, slot: str) -> None:
        """Gone at once."""
        self._release(slot)
        self._life[slot] += 1
        self._later(0.0, slot, lambda: [Exited(slot, "killed (signal 9), maybe out of memory")])

    def wait(self, seconds: float | None) -> Sequence[Happening]:
        """The next happening, at the time when it happens."""
        began = time.process_time()
        happenings = self._next(float("inf") if seconds is None else self.now + seconds)
        self.own_cpu_seconds += time.process_time() - began
        return happenings

    def wake(self) -> None:
        """Nobody sleeps."""

    def close(self, now: bool) -> None:
        """Nobody lives."""

    def _next(self, until: float) -> list[Happening]:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, slot, life, happen = heapq.heappop(self._heap)
            if life == self._life[slot]:
                return happen()
        assert until < float("inf"), "the supervisor waits for nothing"
        self.now = until
        return []

    def _later(self, seconds: float, slot: str, happen: Callable[[], list[Happening]]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), slot, self._life[slot], happen))

    def _fate(self, order: Order) -> str:
        draw = self._random.random()
        for fate, probability in FAULTS.items():
            if draw < probability:
                return "ok" if fate == "oom" and order.batch_halved else fate
            draw -= probability
        return "ok"

    def _end(self, slot: str, order: Order, fate: str, seconds: float) -> list[Happening]:
        self._release(slot)
        if fate == "killed":
            self._life[slot] += 1
            return [Exited(slot, "killed (signal 9), maybe out of memory")]
        self.trained.add(order.trial.network_id)
        self.longest_seconds = max(self.longest_seconds, seconds)
        status: Status = fate  # type: ignore[assignment]
        measurement = self._measurement if status == "ok" else None
        return [Said(slot, encode(Report("result", result=Result(order.trial, status, measurement=measurement))))]

    def _release(self, slot: str) -> None:
        self._training = {network: by for network, by in self._training.items() if by != slot}
        if slot in self._busy_since:
            self.work_seconds += self.now - self._busy_since.pop(slot)


def typical_measurement() -> Measurement:
    """As large as a real one: raw block times of two batch sizes, a bitmap of 10,000 test samples."""
    given: dict[str, Any] = {item.name: 0 for item in dataclasses.fields(Measurement) if is_required(item)}
    blocks = tuple(1.0 + 0.001 * index for index in range(80))
    times: dict[str, Any] = {item.name: 0.0 for item in dataclasses.fields(Latency) if is_required(item)}
    times |= dict.fromkeys(("dense_ms", "pruned_ms", "dense_wall_ms", "pruned_wall_ms"), blocks)
    times |= dict.fromkeys(("device", "dtype", "memory_format", "stopped"), "cpu")
    times |= {
        "batch": 1,
        "threads": 1,
        "compile": False,
        "clock": "cpu",
        "calls_per_block": 9,
        "round_index": (0,) * 80,
    }
    latency = Latency(**times)
    return Measurement(**{**given, "correct": "A" * 1668, "realised": True, "latency": (latency, latency)})


def is_required(item: dataclasses.Field[Any]) -> bool:
    """Whether the field has no default."""
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def planned(count: int, seed: int) -> Iterator[Trial]:
    """Trials in groups of 1 to 99, as a plan has them: one network after another."""
    draw = random.Random(seed)
    dataset, protocol = Choice("digits"), Protocol()
    methods = [Choice("svd", {"keep": index / 100}) for index in range(1, 100)]
    made = 0
    for network in itertools.count():
        model = Choice("net", {"width": network})
        for method in methods[: min(draw.randint(1, 99), count - made)]:
            made += 1
            yield Trial(dataset, model, method, 0, protocol)
        if made >= count:
            return


def simulate(devices: int, trials: int, seed: int) -> dict[str, float]:
    """One run, in figures."""
    cluster = VirtualCluster(seed)
    slots = [Slot(f"cuda:{index}", "cuda:0") for index in range(devices)]
    supervisor = Supervisor(slots, cluster, RetryPolicy(), TIMEOUT_SECONDS, cluster.clock)
    began, finished, others_ended = time.process_time(), 0, 0.0
    for event in supervisor.run(planned(trials, seed)):
        if isinstance(event, Finished):
            finished += 1
            others_ended = others_ended if event.result.status == "timeout" else cluster.now
    cpu = time.process_time() - began - cluster.own_cpu_seconds
    bound = max(cluster.work_seconds / devices, cluster.longest_seconds)
    hangs_end = [hang + TIMEOUT_SECONDS for hang in cluster.hangs_began]
    bound_with_hangs = max(bound, *hangs_end, 0.0)
    shared_seconds = cluster.work_seconds - sum(max(0.0, end - others_ended) for end in hangs_end)
    return {
        "devices": devices,
        "trials": trials,
        "finished": finished,
        "networks": len(cluster.trained),
        "networks_trained_twice_at_once": cluster.trained_twice,
        "virtual_hours": round(cluster.now / 3600, 3),
        "busy_share_of_bound": round(bound / cluster.now, 4),
        "share_lost_behind_hangs": round((bound_with_hangs - bound) / cluster.now, 4),
        "busy_share_until_only_hangs_are_left": round(shared_seconds / devices / others_ended, 4),
        "scheduler_cpu_ms_per_trial": round(1e3 * cpu / trials, 4),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


COLUMNS = {
    "busy_share_of_bound": "busy",
    "share_lost_behind_hangs": "lost behind hangs",
    "busy_share_until_only_hangs_are_left": "busy until only hangs are left",
}


def table(runs: Sequence[dict[str, float]]) -> str:
    """A line per seed, shares in percent, and what the scheduler took of a CPU."""
    lines = [f"| seed | {' | '.join(COLUMNS.values())} | CPU a trial |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for seed, run in enumerate(runs):
        shares = " | ".join(f"{100 * run[name]:.1f} %" for name in COLUMNS)
        lines.append(f"| {seed} | {shares} | {run['scheduler_cpu_ms_per_trial']:.2f} ms |")
    return "\n".join(lines)


def main() -> None:
    """Print one run as JSON, or several as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, help="a table over this many, from 0")
    given = parser.parse_args()
    if given.seeds:
        print(table([simulate(given.devices, given.trials, seed) for seed in range(given.seeds)]))
        return
    print(json.dumps(simulate(given.devices, given.trials, given.seed), indent=2))


if __name__ == "__main__":
    main()
