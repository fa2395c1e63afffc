"""What trials of one worker share beside data: who left it otherwise fails by name, and it is put back.

Plugins are trusted code, and no guard holds against one that means harm. These hold against slips: a batch normalised
in place, gradients left off, a default type changed, one of our functions replaced and never restored.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_globals

from prunebench.errors import NotApplicable
from prunebench.trial.fingerprints import Fingerprint
from prunebench.trial.task import Memory

OURS = ("trial", "measure", "splits", "shapes", "randomness", "records")  # what decides a number
GLOBAL_HOOKS = tuple(name for name in vars(module_globals) if name.startswith("_global_") and name.endswith("hooks"))
UNKNOWN = object()


class Spoiled(Exception):
    """Something that later trials share was changed; the trial that did it fails with this as its reason."""


@dataclass(frozen=True)
class Setting:
    """A global of this process: `words` name it, `get` reads it, `put` sets it."""

    words: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _flag(words: str, holder: Any, name: str) -> Setting:
    return Setting(words, lambda: getattr(holder, name), lambda value: setattr(holder, name, value))


def _autocast(device: str) -> Setting:
    def put(value: bool) -> None:
        torch.set_autocast_enabled(device, value)

    return Setting(f"torch's autocast on {device}", lambda: torch.is_autocast_enabled(device), put)


_DENORMAL = torch.tensor(1e-310, dtype=torch.float64)

SETTINGS = (
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's gradient mode", torch.is_grad_enabled, lambda value: torch._C._set_grad_enabled(value)),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "torch's default device",
        torch.get_default_device,
        lambda value: torch.set_default_device(None if value.type == "cpu" else value),
    ),
    Setting(
        "torch's deterministic algorithms",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    Setting("torch's flushing of denormals", lambda: not float(_DENORMAL.mul(1.0)), torch.set_flush_denormal),
    Setting("torch's float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    Setting("torch's anomaly detection", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    _autocast("cpu"),
    _autocast("cuda"),
    _flag("torch.backends.cudnn.enabled", torch.backends.cudnn, "enabled"),
    _flag("torch.backends.cudnn.benchmark", torch.backends.cudnn, "benchmark"),
    _flag("torch.backends.cudnn.deterministic", torch.backends.cudnn, "deterministic"),
    _flag("torch.backends.cudnn.allow_tf32", torch.backends.cudnn, "allow_tf32"),
    _flag("torch.backends.cuda.matmul.allow_tf32", torch.backends.cuda.matmul, "allow_tf32"),
    _flag("torch.backends.mkldnn.enabled", torch.backends.mkldnn, "enabled"),
    Setting("torch's flash attention", torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    Setting("torch's maths attention", torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
    Setting("the working folder", os.getcwd, os.chdir),
)


def _read(setting: Setting) -> Any:
    try:
        return setting.get()
    except (RuntimeError, OSError):  # as where two ways of setting TF32 were mixed, or the folder is gone
        return UNKNOWN


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The globals of this process at one moment."""

    values: tuple[Any, ...]
    hooks: tuple[frozenset[int], ...]
    mode_count: int
    functions: tuple[tuple[Any, Any, tuple[str, ...], Any], ...]  # holder, reader, names, what it read

    @classmethod
    def now(cls) -> Surroundings:
        """As they are."""
        return cls(
            tuple(_read(setting) for setting in SETTINGS),
            tuple(frozenset(getattr(module_globals, name)) for name in GLOBAL_HOOKS),
            torch._C._len_torch_function_stack(),
            tuple((holder, reader, names, reader(vars(holder))) for holder, reader, names in _function_readers()),
        )

    def restored(self) -> list[str]:
        """What is otherwise now, in words; put back as far as can be."""
        return [*self._settings(), *self._hooks(), *self._modes(), *self._functions()]

    def _settings(self) -> Iterator[str]:
        for setting, then in zip(SETTINGS, self.values, strict=True):
            now = _read(setting)
            if now != then and UNKNOWN not in (now, then):
                setting.put(then)
                yield f"{setting.words} at {now} (it was {then})"

    def _hooks(self) -> Iterator[str]:
        for name, then in zip(GLOBAL_HOOKS, self.hooks, strict=True):
            hooks = getattr(module_globals, name)
            for key in [key for key in hooks if key not in then]:
                del hooks[key]
                yield "a hook on all of torch's modules"

    def _modes(self) -> Iterator[str]:
        while torch._C._len_torch_function_stack() > self.mode_count:
            yield f"torch's function mode {type(torch._C._pop_torch_function_stack()).__name__}"

    def _functions(self) -> Iterator[str]:
        for holder, reader, names, then in self.functions:
            if reader(vars(holder)) == then:
                continue
            for name, value in zip(names, then if len(names) > 1 else (then,), strict=True):
                if vars(holder)[name] is not value:
                    setattr(holder, name, value)
                    yield f"{holder.__name__}.{name} replaced by another function"


_READERS: dict[str, list[tuple[Any, Any, tuple[str, ...]]]] = {}
_SEEN_COUNTS: list[int] = []  # of modules, when they were last looked through: there are thousands


def _function_readers() -> list[tuple[Any, Any, tuple[str, ...]]]:
    """Holders of functions that decide numbers, and how to read them all at once; a module is looked through once."""
    if [len(sys.modules)] != _SEEN_COUNTS:
        _SEEN_COUNTS[:] = [len(sys.modules)]
        for name in [name for name in sys.modules if name.startswith("prunebench.") and name.split(".")[1] in OURS]:
            if name not in _READERS:
                _READERS[name] = list(_readers(sys.modules[name]))
        _READERS["time"] = [_reader(time, ("monotonic", "perf_counter", "process_time", "thread_time"))]
    return [reader for readers in _READERS.values() for reader in readers]


def _readers(module: ModuleType) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    named = {name: value for name, value in vars(module).items() if isinstance(value, FunctionType | type)}
    if named:
        yield _reader(module, tuple(named))
    for value in named.values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            methods = tuple(name for name, inner in vars(value).items() if isinstance(inner, FunctionType))
            if methods:
                yield _reader(value, methods)


def _reader(holder: Any, names: tuple[str, ...]) -> tuple[Any, Any, tuple[str, ...]]:
    return holder, itemgetter(*names), names


def structure(network: nn.Module) -> tuple[Any, ...]:
    """What decides how a network computes beside its weights: its modules, their modes, hooks and forward passes."""
    return tuple(
        (id(module), id(type(module).forward), module.training, len(module._forward_hooks),
         len(module._forward_pre_hooks), "forward" in vars(module))
        for module in network.modules()
    )  # fmt: skip


@dataclass(eq=False)
class Guard:
    """Watches a trial: `enter` says whose code runs next, and holds the one before to account."""

    culprit: str = ""
    before: Surroundings | None = None
    data: Fingerprint = field(default_factory=Fingerprint)
    memory: Memory = field(default_factory=Memory)
    dense: tuple[nn.Module, tuple[Any, ...]] | None = None
    is_spoilt: bool = False  # something was changed since this guard began
    has_run: bool = True  # whether code of others may have run since it last looked

    @contextmanager
    def watching(self, culprit: str) -> Iterator[None]:
        """A stretch that begins with the code of `culprit`; raises `Spoiled` at its end, where no other error does."""
        self.culprit, self.before, self.has_run = culprit, Surroundings.now(), False
        try:
            yield
        except NotApplicable:
            self.enter("")
            raise
        except BaseException as error:
            if found := self.found():
                error.add_note(found)
            raise
        self.enter("")

    def hand_out(self, data: Fingerprint, memory: Memory, dense: nn.Module, built: tuple[Any, ...]) -> None:
        """From here on the trial can reach these; `built` is the dense network's `structure`."""
        self.data, self.memory, self.dense = data, memory, (dense, built)

    def hand_back(self) -> None:
        """Nothing is handed out any more."""
        self.data, self.memory, self.dense = Fingerprint(), Memory(), None

    def enter(self, culprit: str) -> None:
        """Raise `Spoiled` where the code that ran until now changed what is shared; that of `culprit` comes next.

        Looking costs a part of a millisecond, and is left out where nothing of others has run.
        """
        found = self.found() if self.has_run else ""
        if found:
            raise Spoiled(found)
        self.culprit, self.has_run = culprit, True

    def found(self) -> str:
        """What the code that ran until now changed, with its name, else empty; globals are put back."""
        if self.before is None:
            return ""
        left = self.before.restored()
        what = f"left {' and '.join(dict.fromkeys(left))}: restore it before you return" if left else self._changed()
        self.is_spoilt = self.is_spoilt or bool(what)
        return f"{self.culprit} {what}" if what else ""

    def _changed(self) -> str:
        if name := self.data.changed():
            return f"changed {name} in place, which later trials use: work on a copy"
        key = self.memory.changed()
        if key is not None:
            return f"changed in place what task.once keeps under {key!r}: work on a copy"
        if self.dense is not None and structure(self.dense[0]) != self.dense[1]:
            return "changed the dense network's modules, modes or hooks, which it must not touch"
        return ""
