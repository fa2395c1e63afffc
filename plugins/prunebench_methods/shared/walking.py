"""Layer after layer through one pass: forward passes of all batches, halted where the next layer is to be changed.

A fit that reads what the layers before, already pruned, give a layer would run from the first layer up to each: of L
layers L/2 passes. Here the passes wait inside, before a layer, until that has its successor, and go on through it. Each
batch has a thread of its own, of which one runs at a time, so that nothing depends on chance.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from prunebench import Task, samples
from torch import Tensor, nn

from prunebench_methods.shared.calibration import (
    Reached,
    batches_of,
    ending_before,
    entered,
    first_input,
    input_of,
    layer_by_layer,
)


class OutOfOrder(RuntimeError):
    """Layers are reached in another order than the one they are asked for in, or not at all."""


class Gate(nn.Module):
    """Stands in a layer's place: halts the pass, then calls what stands there by now."""

    def __init__(self, walk: Walk, name: str, layer: nn.Module) -> None:
        super().__init__()
        self.name, self.layer, self._walk = name, layer, [walk]

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the successor answers, or the layer itself where it has none."""
        walk = self._walk[0]
        walk.halt(self.name, lambda: first_input(inputs, options))
        now = walk.network.get_submodule(self.name)
        answer = (self.layer if now is self else now)(*inputs, **options)
        walk.halt(f"{self.name}:answer", lambda: answer)
        return answer


class Walk:
    """The passes of all batches through `network`; use it as `walking` does."""

    def __init__(self, network: nn.Module, batches: list[samples.Tree]) -> None:
        self.network = network
        self.passes = [_Pass(self, batch) for batch in batches]
        self.wanted = ""  # where passes halt; nothing lets them run through

    def inputs(self, name: str) -> list[Tensor]:
        """What the layer `name` is given, batch by batch, now that the layers before it are as they are."""
        return self._at(name)

    def answers(self, name: str) -> list[Tensor]:
        """What the layer `name` answers, batch by batch."""
        return self._at(f"{name}:answer")

    def _at(self, place: str) -> list[Tensor]:
        self.wanted = place
        return [each.go_on() for each in self.passes]

    def run_out(self) -> None:
        """Let all passes come to their end."""
        self.wanted = ""
        for each in self.passes:
            each.advance()

    def halt(self, place: str, seen: Callable[[], Tensor]) -> None:
        """Called inside a pass: waits where `place` is wanted."""
        own = getattr(_OWN, "walked", None)
        if own is not None and place == self.wanted:
            own.wait(seen())

    def end(self) -> None:
        """Give up all passes where they are."""
        for each in self.passes:
            each.give_up()


_OWN = threading.local()  # of a thread: the pass that it is


class _Pass:
    """One batch on its way."""

    def __init__(self, walk: Walk, batch: samples.Tree) -> None:
        self.walk, self.batch = walk, batch
        self.may_go, self.has_halted = threading.Semaphore(0), threading.Semaphore(0)
        self.seen: Tensor | None = None
        self.outside: Callable[[], None] | None = None  # what is to be done by the thread that waits for it
        self.error: BaseException | None = None
        self.is_over = self.is_given_up = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def go_on(self) -> Tensor:
        """What is seen at the next halt; raises what the network raises, and `OutOfOrder` where it comes to its end."""
        self.advance()
        if self.seen is None:
            raise OutOfOrder(f"the calibration samples do not reach {self.walk.wanted!r} in the order of the layers")
        return self.seen

    def advance(self) -> None:
        """On to the next halt or the end; raises what the network raises."""
        self.seen = None
        if not self.thread.ident:
            self.thread.start()
        while not self.is_over:
            self.may_go.release()
            self.has_halted.acquire()
            if self.outside is None:
                break
            action, self.outside = self.outside, None
            action()
        if self.error is not None:
            raise self.error

    def wait(self, seen: Tensor) -> None:
        """Called inside: show `seen`, and wait."""
        self.seen = seen
        self.has_halted.release()
        self.may_go.acquire()
        if self.is_given_up:
            raise Reached

    def ask(self, action: Callable[[], None]) -> None:
        """Called inside: have `action` done outside, and wait: what a thread allocates, its heap keeps."""
        self.outside = action
        self.has_halted.release()
        self.may_go.acquire()
        if self.is_given_up:
            raise Reached

    def give_up(self) -> None:
        """End it where it is."""
        self.is_given_up = True
        if self.thread.ident and not self.is_over:
            self.may_go.release()
            self.thread.join()

    def _run(self) -> None:
        _OWN.walked = self
        self.may_go.acquire()
        try:
            with torch.no_grad(), contextlib.suppress(Reached):
                samples.call(self.walk.network, self.batch)
        except BaseException as error:  # of the network: it belongs to who waits
            self.error = error
        self.is_over = True
        self.has_halted.release()


@contextmanager
def walking(network: nn.Module, batches: Iterable[samples.Tree], names: Iterable[str]) -> Iterator[Walk]:
    """A walk of the batches that can halt at the layers with these names, which are to be asked for in their order.

    A layer that is called more than once is halted at its first call. Afterwards `network` has its own layers, or
    what was put in their places meanwhile.
    """
    walk = Walk(network, list(batches))
    gates = {name: Gate(walk, name, network.get_submodule(name)) for name in names}
    for name, gate in gates.items():
        network.set_submodule(name, gate)
    try:
        with layer_by_layer():
            yield walk
    finally:
        walk.end()
        for name, gate in gates.items():
            if network.get_submodule(name) is gate:
                network.set_submodule(name, gate.layer)


def run_blocks(
    network: nn.Module,
    task: Task,
    names: Iterable[str],
    see: Callable[[str, Tensor], None],
    between: Callable[[], None],
    *,
    until: str = "",
) -> None:
    """As `run_calibration`, `entered` by names, but every batch goes through one block before any enters the next.

    `between` is called each time. Raises `OutOfOrder` where blocks are not called in the order of the anatomy.
    """

    def shown(name: str, x: Tensor) -> None:
        _OWN.walked.ask(lambda: see(name, x))

    assert task.anatomy is not None
    blocks = [block.name for block in task.anatomy.blocks]
    walk = Walk(network, list(batches_of(task)))
    halts = entered(network, blocks, lambda name, x: walk.halt(name, lambda: x))
    try:
        with ending_before(network, until), entered(network, names, shown), halts, layer_by_layer():
            for name in blocks:
                walk.inputs(name)
                between()
            walk.run_out()
    finally:
        walk.end()


@contextmanager
def given(network: nn.Module, task: Task, names: Iterable[str]) -> Iterator[Callable[[str], Iterable[Tensor]]]:
    """Layer -> what it is given over the calibration data, batch by batch, by the network as it is when it is asked.

    Ask in the order of the layers, each for itself. Networks of known blocks are walked, which holds as much of every
    batch as one block works in; others are run up to the layer each time, batch after batch.
    """
    if task.anatomy is None:
        yield lambda name: (input_of(network, name, inputs) for inputs in batches_of(task))
        return
    with walking(network, batches_of(task), names) as walk:
        yield walk.inputs
