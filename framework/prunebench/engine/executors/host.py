"""What runs on a node of a cluster: an actor around one worker process, the same one as on a single machine.

It decides nothing. The driver sends commands and hears what happened; the actor only carries both, so that a method
that crashes or hangs ends as it does locally, and the actor itself always answers.
"""

from __future__ import annotations

import contextlib
import platform
import socket
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from prunebench.engine.executors.connection import the_ray
from prunebench.engine.executors.events import Slot
from prunebench.engine.executors.local import LocalTransport
from prunebench.engine.executors.transport import Said
from prunebench.engine.worker.messages import RELEASE, Hello, Order
from prunebench.records import decode
from prunebench.writing import write_whole

Command = tuple[str, bytes]  # "start", "send" with an order, "kill", "close"
Told = tuple[str, bytes, str]  # "said" with a line; "exited" with its reason and the tail of the log


class Ending(msgspec.Struct):
    """As much of a result as the host reads."""

    status: str


class Kept(msgspec.Struct):
    """As much of a report."""

    result: Ending


class Host:
    """One slot of a node. `step` is a long poll; `nudge` ends it early, from another thread."""

    def __init__(self, slot: Slot, hello: Hello, library: Any = None) -> None:
        self._slot = slot
        self._transport = LocalTransport(lambda slot: hello, hello.settings.get("log_dir"))
        self._shelf = Shelf(Path(hello.settings["checkpoints"]), library)
        self._network_id = ""

    def about(self) -> dict[str, str]:
        """Where this is, and with which versions."""
        return {"host": socket.gethostname(), "node": the_ray().get_runtime_context().get_node_id(), **versions()}

    def step(self, commands: Sequence[Command], seconds: float) -> list[Told]:
        """Do what is asked, then tell what happens within `seconds`."""
        for kind, line in commands:
            self._obey(kind, line)
        told: list[Told] = []
        for happening in self._transport.wait(seconds):
            if isinstance(happening, Said):
                self._keep_checkpoint(happening.line)
                told.append(("said", happening.line, ""))
            else:
                told.append(("exited", happening.reason.encode(), happening.tail))
        return told

    def nudge(self) -> None:
        """End the `step` under way."""
        self._transport.wake()

    def close(self) -> None:
        """End the worker and all that it left behind."""
        self._transport.close(now=False)

    def _obey(self, kind: str, line: bytes) -> None:
        match kind:
            case "start":
                self._transport.start(self._slot)
            case "send":
                if line != RELEASE:
                    self._network_id = decode(line, Order).trial.network_id
                    self._shelf.fetch(self._network_id)
                self._transport.send(self._slot.name, line)
            case "kill":
                self._transport.kill(self._slot.name)

    def _keep_checkpoint(self, line: bytes) -> None:
        """Before its result is told: whoever hears of it may send the next trial of the network to another node."""
        if b'"kind":"result"' in line[:200] and decode(line, Kept).result.status in ("ok", "skipped", "failed"):
            self._shelf.publish(self._network_id)


class Library:
    """On the cluster, once: which node's object store has the checkpoint of a dense network."""

    def __init__(self) -> None:
        self._books: dict[str, Any] = {}

    def find(self, network_id: str) -> Any:
        """A reference to its files, in a list so that it travels as a reference; None where nobody published it."""
        return self._books.get(network_id)

    def publish(self, network_id: str, book: Any) -> None:
        """Remember where it is."""
        self._books.setdefault(network_id, book)


class Shelf:
    """A node's folder of checkpoints: what it lacks comes over the object store; with a shared folder, nothing does."""

    def __init__(self, folder: Path, library: Any) -> None:
        self._folder = folder
        self._library = library
        self._published: set[str] = set()

    def fetch(self, network_id: str) -> None:
        """Put the network's checkpoint into the folder; without it the worker trains it again, to the same result."""
        if self._library is None or self._files(network_id):
            return
        ray = the_ray()
        with contextlib.suppress(ray.exceptions.RayError):
            book = ray.get(self._library.find.remote(network_id), timeout=5)
            if book is not None:
                self._write(ray.get(book[0], timeout=10))
                self._published.add(network_id)

    def publish(self, network_id: str) -> None:
        """Tell the others of a checkpoint that lies here; returns when they can find it."""
        if self._library is None or network_id in self._published:
            return
        files = {path.name: path.read_bytes() for path in self._files(network_id)}
        if files:
            self._published.add(network_id)
            ray = the_ray()
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._library.publish.remote(network_id, [ray.put(files)]), timeout=5)

    def _files(self, network_id: str) -> list[Path]:
        """Weights and record of a complete checkpoint."""
        record, weights = self._folder / f"{network_id}.json", self._folder / f"{network_id}.safetensors"
        return [weights, record] if record.exists() and weights.exists() else []

    def _write(self, files: Mapping[str, bytes]) -> None:
        """The weights first: a checkpoint counts from when its record is there."""
        for name in sorted(files, reverse=True):
            write_whole(self._folder / name, files[name])


def versions() -> dict[str, str]:
    """What must be equal on the driver and on every node: Python's minor version, prunebench, plugins, torch."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    sources = {point.dist for point in metadata.entry_points(group="prunebench") if point.dist is not None}
    found |= {source.name: source.version for source in sources}
    for name in ("prunebench", "torch"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name).partition("+")[0]
    return found
