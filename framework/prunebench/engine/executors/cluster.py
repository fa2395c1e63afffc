"""Workers on the machines of a Ray cluster, behind the same supervision as on one machine.

One actor a slot, never restarted by Ray and never retried by it: deadlines, retries and attempts are the driver's, so
that no trial is run twice behind its back. Every actor owes an answer within seconds; one that stays silent is taken
for lost, long before Ray would say so. Ray is imported only here and only when a cluster is asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Sequence
from typing import Any

from prunebench.engine.executors.cluster_slots import cluster_slots
from prunebench.engine.executors.connection import connect, is_reachable, the_ray
from prunebench.engine.executors.events import RETRIES, RetryPolicy, Slot, WorkSettings
from prunebench.engine.executors.host import Command, Host, Library, versions
from prunebench.engine.executors.local import hello
from prunebench.engine.executors.supervisor import Supervisor
from prunebench.engine.executors.transport import Exited, Happening, Said
from prunebench.errors import DeviceError

POLL_SECONDS = 8.0  # how long an actor waits for something to tell
HEARTBEAT_SECONDS = 25.0  # without an answer: the node is frozen or cut off
PENDING_SECONDS = 120.0  # for Ray to find a place for an actor and to start it
LOOK_SECONDS = 0.5  # how often the driver looks up while it waits: a signal cannot end Ray's wait
HEAD_SECONDS = 5.0  # between two looks at the head
HEAD_TRIES = 3  # a second apart, until it counts as gone


class ClusterExecutor(Supervisor):
    """Runs trials on a Ray cluster; `address` None starts one on this machine, for as long as the run lasts."""

    def __init__(
        self,
        devices: str,
        settings: WorkSettings,
        retries: RetryPolicy = RETRIES,
        runner: str = "prunebench.trial.runner:open_workbench",
        address: str | None = None,
        gpu_fraction: float = 1.0,
    ) -> None:
        head = connect(address)
        try:
            slots, needs = cluster_slots(devices, settings.threads_per_slot, gpu_fraction)
        except DeviceError:
            the_ray().shutdown()
            raise
        transport = RayTransport(settings, runner, needs, head)
        super().__init__(slots, transport, retries, settings.timeout_seconds)


@dataclasses.dataclass
class Remote:
    """An actor and the answer that it owes."""

    actor: Any
    commands: list[Command]
    answer: Any = None  # of the step under way
    asked_at: float = 0.0
    has_answered: bool = False
    node_id: str = ""


class RayTransport:
    """Actors by slot, each with one long poll under way."""

    def __init__(self, settings: WorkSettings, runner: str, needs: dict[str, float], head: str) -> None:
        self._settings = settings
        self._runner = runner
        self._needs = needs
        self._head = head
        self._versions = versions()
        self._remotes: dict[str, Remote] = {}
        self._frozen_nodes: set[str] = set()
        self._library: Any = None
        self._is_woken = False
        self._looked_at_head = time.monotonic()
        self._has_head = True

    def start(self, slot: Slot) -> None:
        """Begin a worker, in the actor that the slot has or in a new one."""
        if slot.name not in self._remotes:
            self._need_head()
            self._remotes[slot.name] = self._new_remote(slot)
        self._command(slot.name, ("start", b""))

    def send(self, slot: str, line: bytes) -> None:
        """An order for an idle worker."""
        self._command(slot, ("send", line))

    def kill(self, slot: str) -> None:
        """End a worker and its children; an actor that does not even do this is lost by its silence."""
        if slot in self._remotes:
            self._command(slot, ("kill", b""))

    def wait(self, seconds: float | None) -> Sequence[Happening]:
        """What the actors have told; silence of one too long, or of the head, is told too."""
        deadline = time.monotonic() + (3600.0 if seconds is None else seconds)
        while True:
            answers = {remote.answer: name for name, remote in self._remotes.items() if remote.answer is not None}
            ready = answered(list(answers), max(0.0, min(deadline - time.monotonic(), LOOK_SECONDS)))
            happenings = [happening for answer in ready for happening in self._collect(answers[answer])]
            happenings += self._silent()
            self._look_at_head()
            if happenings or self._is_woken or time.monotonic() >= deadline:
                self._is_woken = False
                return happenings

    def wake(self) -> None:
        """End a `wait` at its next look."""
        self._is_woken = True

    def close(self, now: bool) -> None:
        """End all actors with their workers, and leave the cluster."""
        ray = the_ray()
        if not self._has_head:
            return  # Ray would wait a minute for its head: the workers end with their nodes
        actors = [remote.actor for remote in self._remotes.values()]
        try:
            if not now and actors:
                ray.wait([self._closing(actor) for actor in actors], num_returns=len(actors), timeout=4.0)
            for actor in actors:
                ray.kill(actor, no_restart=True)
        except ray.exceptions.RayError:
            pass  # whoever is gone already needs no end
        finally:
            self._remotes.clear()
            ray.shutdown()

    @staticmethod
    def _closing(actor: Any) -> Any:
        actor.nudge.options(concurrency_group="nudges").remote()
        return actor.close.remote()

    def _new_remote(self, slot: Slot) -> Remote:
        ray, strategies = the_ray(), importlib.import_module("ray.util.scheduling_strategies")
        if self._library is None:
            here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._library = ray.remote(num_cpus=0, scheduling_strategy=here)(Library).remote()
        options: dict[str, Any] = {"num_cpus": 0, **self._needs, "max_restarts": 0, "max_task_retries": 0}
        if self._frozen_nodes:
            options["scheduling_strategy"] = strategies.NodeLabelSchedulingStrategy(
                hard={"ray.io/node-id": strategies.NotIn(*self._frozen_nodes)}
            )
        remote_class = ray.remote(concurrency_groups={"nudges": 1}, **options)(Host)
        greeting = hello(slot, self._settings, self._runner)
        remote = Remote(remote_class.remote(slot, greeting, self._library), [])
        remote.answer, remote.asked_at = remote.actor.about.remote(), time.monotonic()
        return remote

    def _command(self, name: str, command: Command) -> None:
        remote = self._remotes[name]
        remote.commands.append(command)
        if remote.answer is None:
            self._ask(remote)
        elif remote.has_answered:
            remote.actor.nudge.options(concurrency_group="nudges").remote()

    def _ask(self, remote: Remote) -> None:
        commands, remote.commands = remote.commands, []
        remote.answer, remote.asked_at = remote.actor.step.remote(commands, POLL_SECONDS), time.monotonic()

    def _collect(self, name: str) -> list[Happening]:
        ray = the_ray()
        remote = self._remotes[name]
        try:
            told = ray.get(remote.answer)
        except ray.exceptions.RayError as error:
            self._drop(name)  # it may only be cut off, and must not go on with what another will do
            return [Exited(name, told_of(error))]
        if not remote.has_answered:
            remote.has_answered, remote.node_id = True, told["node"]
            self._check_versions(told)
            told = []
        self._ask(remote)
        return [Said(name, line) if kind == "said" else Exited(name, line.decode(), tail) for kind, line, tail in told]

    def _check_versions(self, node: dict[str, str]) -> None:
        for name, ours in self._versions.items():
            theirs = node.get(name, "not installed")
            if theirs != ours:
                raise DeviceError(
                    f"{name} is {ours} here and {theirs} on node {node['host']}: install the same on every node"
                )

    def _silent(self) -> list[Happening]:
        found: list[Happening] = []
        for name, remote in list(self._remotes.items()):
            limit = HEARTBEAT_SECONDS if remote.has_answered else PENDING_SECONDS
            if remote.answer is not None and time.monotonic() - remote.asked_at > limit:
                found.append(self._given_up(name, remote, limit))
        return found

    def _given_up(self, name: str, remote: Remote, limit: float) -> Happening:
        self._drop(name)
        if remote.node_id:
            self._frozen_nodes.add(remote.node_id)
        if remote.has_answered:
            return Exited(name, f"lost: its node has not answered for {limit:.0f} s")
        return Exited(name, f"Ray found no free node for it within {limit:.0f} s")

    def _drop(self, name: str) -> None:
        self._need_head()
        the_ray().kill(self._remotes.pop(name).actor, no_restart=True)

    def _look_at_head(self) -> None:
        if time.monotonic() - self._looked_at_head >= HEAD_SECONDS:
            self._looked_at_head = time.monotonic()
            self._need_head()

    def _need_head(self) -> None:
        """Raise where the head is gone: whatever Ray is asked next would hang for a minute, then end this process."""
        for _ in range(HEAD_TRIES):
            if is_reachable(self._head, 2.0):
                return
            time.sleep(1.0)
        self._has_head = False
        raise DeviceError(
            f"the head of the Ray cluster at {self._head} is gone; finished trials are kept: "
            "run the same command again to continue"
        )


def answered(answers: list[Any], seconds: float) -> list[Any]:
    """All that are there when the first one is, after at most `seconds`."""
    if not answers:
        time.sleep(seconds)
        return []
    ready, _ = the_ray().wait(answers, num_returns=1, timeout=seconds)
    more: list[Any] = the_ray().wait(answers, num_returns=len(answers), timeout=0)[0] if ready else []
    return more


def told_of(error: Exception) -> str:
    """Ray's messages are pages: whether the machine is gone, or the last line of what was raised there."""
    if type(error).__name__ in ("ActorUnavailableError", "NodeDiedError"):
        return "lost: its machine is gone"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"lost: {type(error).__name__}: {lines[-1] if lines else ''}"[:400]
