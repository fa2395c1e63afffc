from __future__ import annotations

import random
from dataclasses import replace

import pytest
from executor_toys import toy
from prunebench.engine.executors.events import RetryPolicy
from prunebench.engine.executors.schedule import Job, Schedule
from prunebench.records import Recipe, Status, Trial

STATUSES: list[Status] = ["ok", "failed", "killed", "oom", "timeout"]


def schedule_of(*networks: int, retries: RetryPolicy = RetryPolicy()) -> Schedule:  # noqa: B008
    schedule = Schedule(retries)
    for index, network in enumerate(networks):
        schedule.add(toy("fine", network, index=index))
    return schedule


def made(width: int, index: int, epochs: int) -> Trial:
    trial = toy("fine", width, index=index)
    return replace(trial, protocol=replace(trial.protocol, train=Recipe(epochs=epochs)))


def network(job: Job | None) -> int | None:
    return None if job is None else int(job.trial.model.params["width"])  # type: ignore[arg-type]


def taken(schedule: Schedule, slot: str) -> Job:
    job = schedule.take(slot)
    assert job is not None
    return job


def test_a_slot_keeps_to_its_network_though_the_plan_mixes_them() -> None:
    schedule = schedule_of(0, 1, 0, 1, 0, 1)
    assert [network(schedule.take("a")) for _ in range(3)] == [0, 0, 0]
    assert [network(schedule.take("b")) for _ in range(3)] == [1, 1, 1]


def test_trials_come_in_the_order_of_the_plan() -> None:
    schedule = schedule_of(0, 0, 0)
    assert [taken(schedule, "a").trial.method.params["index"] for _ in range(3)] == [0, 1, 2]


def test_nobody_helps_before_the_first_trial_of_a_network_has_come_back() -> None:
    schedule = schedule_of(0, 0, 0)
    first = taken(schedule, "a")
    assert schedule.take("b") is None
    schedule.settle(first, "ok")
    assert network(schedule.take("b")) == 0


def test_after_a_worker_died_its_network_stays_closed() -> None:
    schedule = schedule_of(0, 0, 0)
    for status in ("killed", "timeout", "oom"):
        schedule.settle(taken(schedule, "a"), status)
        assert schedule.take("b") is None


def test_help_goes_where_most_is_left() -> None:
    schedule = schedule_of(0, 0, 0, 1, 1, 1, 1, 1)
    for slot in ("a", "b"):
        schedule.settle(taken(schedule, slot), "ok")
    assert network(schedule.take("c")) == 1


def test_a_new_network_comes_before_helping() -> None:
    schedule = schedule_of(0, 0, 0, 1)
    schedule.settle(taken(schedule, "a"), "ok")
    assert network(schedule.take("b")) == 1


def test_a_slot_that_is_given_up_leaves_its_network_to_the_next() -> None:
    schedule = schedule_of(0, 0, 1)
    lost = taken(schedule, "a")
    assert schedule.settle(lost, "killed") is not None
    schedule.leave("a")
    assert [network(schedule.take("b")) for _ in range(3)] == [0, 0, 1]
    assert schedule.waiting_count == 0


def test_a_retry_of_a_network_that_everybody_has_left_finds_a_slot() -> None:
    schedule = schedule_of(0, 1)
    first, second = taken(schedule, "a"), taken(schedule, "b")
    schedule.settle(second, "ok")
    schedule.leave("a")
    schedule.settle(first, "killed")
    assert network(schedule.take("b")) == 0


def test_late_trials_of_a_known_network_do_not_wait_for_its_training() -> None:
    schedule = schedule_of(0, 1)
    schedule.settle(taken(schedule, "a"), "ok")
    schedule.settle(taken(schedule, "a"), "ok")
    for index in (7, 8):
        schedule.add(toy("fine", 0, index=index))
    assert [network(schedule.take(slot)) for slot in ("b", "c")] == [0, 0]


def test_retries_are_counted_by_the_class_of_the_end() -> None:
    schedule = schedule_of(0, retries=RetryPolicy(killed=2, oom=1))
    job = taken(schedule, "a")
    for attempt in (2, 3):
        assert schedule.settle(job, "killed") is not None
        job = taken(schedule, "a")
        assert (job.attempt, job.batch_halved) == (attempt, False)
    assert schedule.settle(job, "killed") is None


def test_one_class_of_retries_does_not_use_up_another() -> None:
    schedule = schedule_of(0, retries=RetryPolicy(killed=1, oom=1))
    assert schedule.settle(taken(schedule, "a"), "killed") is not None
    assert schedule.settle(taken(schedule, "a"), "oom") is not None
    last = taken(schedule, "a")
    assert (last.attempt, last.batch_halved) == (3, True)
    assert schedule.settle(last, "killed") is None


def test_a_trial_that_lacked_memory_is_halved_once() -> None:
    schedule = schedule_of(0, retries=RetryPolicy(killed=3, oom=3))
    assert schedule.settle(taken(schedule, "a"), "oom") is not None
    halved = taken(schedule, "a")
    assert halved.batch_halved
    assert schedule.settle(halved, "oom") is None


@pytest.mark.parametrize("seed", range(100))
def test_every_trial_ends_once_and_no_closed_network_is_in_two_slots(seed: int) -> None:
    draw = random.Random(seed)
    slots = [f"s{index}" for index in range(draw.randint(1, 5))]
    schedule = Schedule()
    arriving = [made(draw.randint(0, 4), index, epochs=seed % 2) for index in range(draw.randint(0, 30))]
    count, running, ended, known = len(arriving), dict[str, Job](), list[str](), set[str]()
    while arriving or running or schedule.waiting_count:
        if arriving and draw.random() < 0.5:
            schedule.add(arriving.pop(0))
        for slot in [slot for slot in slots if slot not in running]:
            job = schedule.take(slot)
            if job is not None:
                same = [other for other in running.values() if other.trial.network_id == job.trial.network_id]
                assert not same or job.trial.network_id in known
                running[slot] = job
        assert running or not schedule.waiting_count, "trials wait although every slot is free"
        if running:
            slot = draw.choice(sorted(running))
            job, status = running.pop(slot), draw.choice(STATUSES)
            if status in ("ok", "failed"):
                known.add(job.trial.network_id)
            if schedule.settle(job, status) is None:
                ended.append(job.trial.id)
            if draw.random() < 0.3:
                schedule.leave(slot)
    assert len(ended) == len(set(ended)) == count


def test_a_network_that_is_through_is_forgotten() -> None:
    schedule = schedule_of(*[network for network in range(50) for _ in range(3)])
    while job := schedule.take("a"):
        assert schedule.settle(job, "ok") is None
    schedule.leave("a")
    assert schedule._groups == {}  # a run of a million networks would grow with every one


def trained_by(epochs: int, *networks: int) -> Schedule:
    schedule = Schedule()
    for index, width in enumerate(networks):
        schedule.add(made(width, index, epochs))
    return schedule


def test_the_last_network_is_trained_before_others_go_on() -> None:
    schedule = trained_by(1, *[0, 1, 2] * 4)
    first, second = taken(schedule, "a"), taken(schedule, "b")
    schedule.settle(first, "ok")
    third = taken(schedule, "a")
    schedule.settle(second, "ok")
    assert [network(job) for job in (first, second, third)] == [0, 1, 2]
    assert [network(schedule.take("b")) for _ in range(4)] == [1, 1, 1, 0]
    schedule.settle(third, "ok")
    assert [network(schedule.take("a")) for _ in range(3)] == [2, 2, 2]


@pytest.mark.parametrize(("epochs", "networks"), [(1, 4), (0, 3)], ids=["enough are left", "nothing is trained"])
def test_a_network_is_not_left_for_another_without_need(epochs: int, networks: int) -> None:
    schedule = trained_by(epochs, *list(range(networks)) * 2)
    for slot in "ab":
        schedule.settle(taken(schedule, slot), "ok")
    assert [network(schedule.take(slot)) for slot in "ab"] == [0, 1]
