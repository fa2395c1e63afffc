"""A grid file: TOML in, `Grid` out. Pure: loads no plugin, runs nothing, counts without expanding.

A grid is a union of blocks; a block is the product of its data sets, models, seeds and methods; an entry such as
`{ use = "magnitude", keep = [0.1, 0.5], section = ["fc", "conv"] }` is the product of its own axes.
"""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from prunebench.errors import GridError, did_you_mean
from prunebench.records import LatencyProtocol, Protocol, Recipe, Value

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FILE_LIMIT_BYTES = 1_000_000
TEXT_LIMIT = 10_000
TRIAL_LIMIT = 100_000
SEED_LIMIT = 2**63
AXIS_KEYS = ("range", "linspace", "logspace")
TARGETS = ("compression", "theoretical_speedup")
BLOCK_KEYS = ("dataset", "model", "seed", "method", "exclude")
TOP_KEYS = ("name", "title", "scale", "protocol", "run", "block", "claim")


@dataclass(frozen=True)
class Draft:
    """A plugin's name with the parameters that the grid gives, not yet completed or checked."""

    use: str
    params: dict[str, Value]
    stages: tuple[Draft, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of an axis: a name and its own axes, or a pipeline of entries."""

    use: str
    axes: dict[str, tuple[Value, ...]]
    stages: tuple[Entry, ...] = ()

    @property
    def count(self) -> int:
        """Drafts that this entry stands for."""
        own = math.prod(len(axis) for axis in self.axes.values())
        return own * math.prod(stage.count for stage in self.stages)

    def drafts(self) -> Iterator[Draft]:
        """The product of the entry's axes, first axis slowest."""
        stage_choices = itertools.product(*(list(stage.drafts()) for stage in self.stages))
        for stages in stage_choices:
            for values in itertools.product(*self.axes.values()):
                yield Draft(self.use, dict(zip(self.axes, values, strict=True)), stages)


@dataclass(frozen=True)
class Exclusion:
    """Cells that are left out: every key given must match; `why` is shown wherever the cell is missed."""

    why: str
    match: dict[str, tuple[Value, ...]]  # "dataset", "model", "method", "seed" or a method's parameter

    def covers(self, dataset: Draft, model: Draft, method: Draft, seed: int) -> bool:
        """Whether the cell is left out by this rule."""
        facts: dict[str, Value] = {**method.params, "dataset": dataset.use, "model": model.use, "seed": seed}
        facts["method"] = method.use
        return all(facts.get(key) in allowed for key, allowed in self.match.items())


@dataclass(frozen=True)
class Block:
    """A product of axes."""

    datasets: tuple[Entry, ...]
    models: tuple[Entry, ...]
    methods: tuple[Entry, ...]
    seeds: tuple[int, ...]
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def count(self) -> int:
        """Cells before exclusions."""
        axes = (self.datasets, self.models, self.methods)
        return len(self.seeds) * math.prod(sum(entry.count for entry in axis) for axis in axes)


@dataclass(frozen=True)
class Claim:
    """What a paper says and the SQL that checks it after the run."""

    text: str
    sql: str
    why: str = ""


@dataclass(frozen=True)
class RunOptions:
    """How trials are run; not part of their identity."""

    timeout_seconds: float | None = None
    retries: dict[str, int] | None = None


@dataclass(frozen=True)
class Grid:
    """What a grid file says."""

    name: str
    blocks: tuple[Block, ...]
    protocol: Protocol = Protocol()
    options: RunOptions = RunOptions()
    claims: tuple[Claim, ...] = ()
    scale: str = ""
    title: str = ""
    text: str = ""  # the TOML it was read from
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Cells before exclusions and duplicates."""
        return sum(block.count for block in self.blocks)

    @classmethod
    def load(cls, path: str | Path) -> Grid:
        """The grid in a TOML file; every fault is a `GridError` that names the file and the place."""
        path = Path(path)
        return cls.parse(_text(path), name=_file_name(path), source=str(path))

    @classmethod
    def parse(cls, text: str, name: str = "grid", source: str = "grid") -> Grid:
        """The grid in a TOML text; `name` is used where the text gives none."""
        try:
            return _Reader(source).grid(_toml(text, source), name, text)
        except GridError as error:
            prefix = "" if str(error).startswith(source) else f"{source}: "
            raise GridError(f"{prefix}{error}") from None


def _file_name(path: Path) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)
    return stem if NAME.fullmatch(stem) else "grid"


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise GridError(f"{path} is a folder, not a grid file")
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise GridError(f"{path} has {path.stat().st_size:,} bytes; a grid file may have {FILE_LIMIT_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise GridError(f"no grid file at {path}") from None
    except OSError as error:
        raise GridError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise GridError(f"{path} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None


def _toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        reason = str(error).split(" (at ")[0]
        where = f"{source}:{place[1]}:{place[2]}" if place else source
        raise GridError(f"{where}: {reason[:1].lower()}{reason[1:]}") from None
    except RecursionError:
        raise GridError(f"{source}: too deeply nested") from None
    except ValueError as error:
        digits = "a number is too large" if "digits" in str(error) else str(error)
        raise GridError(f"{source}: {digits}") from None


def _check_keys(table: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    for key in table:
        if key not in allowed:
            hint = did_you_mean(key, allowed) or f"; known: {', '.join(allowed)}"
            raise GridError(f"{where}: unknown key {_short(key)}{hint}")


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Reader:
    """Turns the parsed TOML into records; collects warnings on the way."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.warnings: list[str] = []

    def grid(self, table: dict[str, Any], name: str, text: str) -> Grid:
        if not table:
            raise GridError("the file is empty: a grid needs at least one [[block]]")
        _check_keys(table, TOP_KEYS, "the grid")
        name = table.get("name", name)
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith("."):
            raise GridError(f"name {_short(name)} is not allowed: use {NAME.pattern}, not ending in a dot")
        blocks = table.get("block", [])
        if not isinstance(blocks, list) or not blocks:
            raise GridError("no [[block]]: 0 trials")
        return Grid(
            name=name,
            blocks=tuple(self._block(block, f"block {i + 1}") for i, block in enumerate(blocks)),
            protocol=protocol_from(table.get("protocol", {})),
            options=_run_options(table.get("run", {})),
            claims=tuple(_claim(claim, i + 1) for i, claim in enumerate(table.get("claim", []))),
            scale=str(table.get("scale", "")),
            title=str(table.get("title", "")),
            text=text,
            warnings=tuple(self.warnings),
        )

    def _block(self, table: Any, where: str) -> Block:
        if not isinstance(table, dict):
            raise GridError(f"{where}: must be a table [[block]], got {_short(table)}")
        _check_keys(table, BLOCK_KEYS, where)
        for key in ("dataset", "model", "method"):
            if key not in table:
                raise GridError(f"{where}: no {key}; a block needs dataset, model and method")
        return Block(
            datasets=self._entries(table["dataset"], "dataset", where),
            models=self._entries(table["model"], "model", where),
            methods=self._entries(table["method"], "method", where),
            seeds=self._seeds(table.get("seed", 0), where),
            exclusions=tuple(self._exclusion(rule, where) for rule in table.get("exclude", [])),
        )

    def _entries(self, value: Any, kind: str, where: str) -> tuple[Entry, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise GridError(f"{where}: axis {kind} is empty: 0 trials")
        return tuple(self._entry(item, kind, f"{where}, {kind}") for item in values)

    def _entry(self, value: Any, kind: str, where: str) -> Entry:
        if isinstance(value, str):
            return Entry(self._name(value, where), {})
        if not isinstance(value, dict):
            raise GridError(f'{where}: a name or {{ use = "name", … }} is due, got {_short(value)}')
        if "pipeline" in value and kind == "method":
            return self._pipeline(value, where)
        if "use" not in value:
            raise GridError(f"{where}: {_short(value)} has no `use`")
        axes = {key: self._axis(item, f"{where} {value['use']}, {key}") for key, item in value.items() if key != "use"}
        return Entry(self._name(value["use"], where), axes)

    def _pipeline(self, value: dict[str, Any], where: str) -> Entry:
        _check_keys(value, ("pipeline",), where)
        stages = value["pipeline"]
        if not isinstance(stages, list) or not stages:
            raise GridError(f"{where}: a pipeline is a list of methods, got {_short(stages)}")
        return Entry("pipeline", {}, tuple(self._entry(stage, "stage", where) for stage in stages))

    def _name(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value or len(value) > 200:
            raise GridError(f"{where}: a plugin's name is due, got {_short(value)}")
        return value

    def _axis(self, value: Any, where: str) -> tuple[Value, ...]:
        """The values of one axis: a scalar is fixed, a list or a range spans."""
        values = _spanned(value, where) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if not values:
            raise GridError(f"{where}: the axis is empty: 0 trials")
        for item in values:
            _check_value(item, where)
        unique = [item for i, item in enumerate(values) if not _seen(item, values[:i])]
        if len(unique) < len(values):
            self.warnings.append(f"{where}: {len(values) - len(unique)} duplicate value(s) left out")
        return tuple(unique)

    def _seeds(self, value: Any, where: str) -> tuple[int, ...]:
        seeds = self._axis(value, f"{where}, seed")
        for seed in seeds:
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEED_LIMIT:
                raise GridError(f"{where}: a seed is an integer in [0, 2^63), got {_short(seed)}")
        return cast("tuple[int, ...]", seeds)

    def _exclusion(self, rule: Any, where: str) -> Exclusion:
        if not isinstance(rule, dict) or not isinstance(rule.get("why"), str) or len(rule) < 2:
            example = '{ method = "cp", model = "large_fcn", why = "no convolution" }'
            raise GridError(f"{where}: an exclusion looks like {example}, got {_short(rule)}")
        match = {key: self._axis(value, f"{where}, exclude {key}") for key, value in rule.items() if key != "why"}
        return Exclusion(rule["why"], match)


def _seen(item: Value, earlier: Sequence[Any]) -> bool:
    return any(type(item) is type(other) and item == other for other in earlier[-1000:])


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_value(item, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise GridError(f"{where}: must be finite, got {value}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise GridError(f"{where}: the number is too large: it has to fit in 64 bits")
    elif isinstance(value, str) and len(value) > TEXT_LIMIT:
        raise GridError(f"{where}: a text of {len(value):,} characters; at most {TEXT_LIMIT:,} are allowed")
    elif not isinstance(value, bool | int | float | str):
        raise GridError(f"{where}: a number, a text or true/false is due, got {_short(value)}")


def _spanned(table: dict[str, Any], where: str) -> list[Any]:
    """`{ range = [0, 5] }`, `{ linspace = [0, 1, 5] }`, `{ logspace = [1, 100, 5], integers = true }`."""
    kinds = [key for key in AXIS_KEYS if key in table]
    if len(kinds) != 1:
        raise GridError(f"{where}: one of {', '.join(AXIS_KEYS)} is due, got {_short(table)}")
    _check_keys(table, (*kinds, "integers"), where)
    numbers = table[kinds[0]]
    is_numbers = isinstance(numbers, list) and all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    )
    if not is_numbers:
        raise GridError(f"{where}: {kinds[0]} takes a list of finite numbers, got {_short(numbers)}")
    values = _range(numbers, where) if kinds[0] == "range" else _spaced(kinds[0], numbers, where)
    return list(dict.fromkeys(round(v) for v in values)) if table.get("integers") else values


def _range(numbers: list[Any], where: str) -> list[Any]:
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] == 0):
        raise GridError(f"{where}: range takes [first, end] or [first, end, step], end left out, got {numbers}")
    first, end = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else 1
    count = max(0, math.ceil((end - first) / step - 1e-9))
    _check_length(count, where)
    return [_tidy(first + i * step) for i in range(count)]


def _spaced(kind: str, numbers: list[Any], where: str) -> list[Any]:
    if len(numbers) != 3 or not isinstance(numbers[2], int) or numbers[2] < 1:
        raise GridError(f"{where}: {kind} takes [first, last, how many], got {numbers}")
    first, last, count = numbers
    _check_length(count, where)
    steps = [i / max(1, count - 1) for i in range(count)]
    if kind == "linspace":
        return [_tidy(first + (last - first) * t) for t in steps]
    if first <= 0 or last <= 0:
        raise GridError(f"{where}: logspace needs positive ends, got {numbers}")
    return [_tidy(float(first) * (last / first) ** t) for t in steps]


def _check_length(count: int, where: str) -> None:
    if count > 1_000_000:
        raise GridError(f"{where}: an axis of {count:,} values; at most 1,000,000 are allowed")


def _tidy(value: Any) -> Any:
    """12 significant digits: 0.30000000000000004 is 0.3 on every machine."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def protocol_from(table: Any) -> Protocol:
    """The protocol with every key of `table` in place of its default."""
    if not isinstance(table, dict):
        raise GridError(f"[protocol] must be a table, got {_short(table)}")
    _check_keys(table, [f.name for f in fields(Protocol)], "protocol")
    protocol = Protocol()
    parts = {"train": protocol.train, "finetune": protocol.finetune, "latency": protocol.latency}
    changed: dict[str, Any] = {key: value for key, value in table.items() if key not in parts}
    for key, default in parts.items():
        if key in table:
            changed[key] = _filled(default, table[key], f"protocol.{key}")
    result = _typed(Protocol, {**_plain(protocol), **{k: _plain(v) for k, v in changed.items()}}, "protocol")
    _check_protocol(result)
    return result


def _filled(default: Recipe | LatencyProtocol, table: Any, where: str) -> Recipe | LatencyProtocol:
    if not isinstance(table, dict):
        raise GridError(f"{where} must be a table, got {_short(table)}")
    _check_keys(table, [f.name for f in fields(default)], where)
    table = dict(table)
    if isinstance(table.get("batch"), int):
        table["batch"] = [table["batch"]]
    return _typed(type(default), {**_plain(default), **table}, where)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _typed(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise GridError(f"{where}{place.rstrip('`')}: {reason[:1].lower()}{reason[1:]}") from None


def _check_protocol(protocol: Protocol) -> None:
    for part in ("train", "finetune"):
        recipe: Recipe = getattr(protocol, part)
        _at_least(f"protocol.{part}.epochs", recipe.epochs, 0)
        _at_least(f"protocol.{part}.patience", recipe.patience, 0)
        _at_least(f"protocol.{part}.batch_size", recipe.batch_size, 1)
        if not (recipe.lr > 0 and math.isfinite(recipe.lr)):
            raise GridError(f"protocol.{part}.lr must be above 0, got {recipe.lr}")
        if not (recipe.weight_decay >= 0 and math.isfinite(recipe.weight_decay)):
            raise GridError(f"protocol.{part}.weight_decay must be at least 0, got {recipe.weight_decay}")
    latency = protocol.latency
    for batch in latency.batch:
        _at_least("protocol.latency.batch", batch, 1)
    for key in ("threads", "rounds", "groups"):
        _at_least(f"protocol.latency.{key}", getattr(latency, key), 1)
    if not (latency.max_seconds > 0 and math.isfinite(latency.max_seconds)):
        raise GridError(f"protocol.latency.max_seconds must be above 0, got {latency.max_seconds}")
    _at_least("protocol.calibration", protocol.calibration, 1)
    _at_least("protocol.evaluation_limit", protocol.evaluation_limit, 0)


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise GridError(f"{key} must be at least {least}, got {value}")


def _run_options(table: Any) -> RunOptions:
    if not isinstance(table, dict):
        raise GridError(f"[run] must be a table, got {_short(table)}")
    _check_keys(table, ("timeout", "retries"), "run")
    options = RunOptions()
    if "timeout" in table:
        options = replace(options, timeout_seconds=seconds(table["timeout"], "run.timeout"))
    if "retries" in table:
        retries = table["retries"]
        if not isinstance(retries, dict):
            raise GridError(f"run.retries must be a table, got {_short(retries)}")
        _check_keys(retries, ("killed", "oom"), "run.retries")
        for key, value in retries.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
                raise GridError(f"run.retries.{key} must be a whole number in [0, 100], got {_short(value)}")
        options = replace(options, retries=retries)
    return options


def seconds(value: Any, where: str) -> float:
    """A duration in seconds: a positive number, or a text such as `90s`, `30m`, `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", value) if isinstance(value, str) else None
    if match:
        number = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise GridError(f'{where} must be a duration such as 90, "90s", "30m" or "2h", got {_short(value)}')
    if not (0 < number < math.inf):
        raise GridError(f"{where} must be above 0, got {_short(value)}")
    return number


def _claim(table: Any, number: int) -> Claim:
    where = f"claim {number}"
    if not isinstance(table, dict):
        raise GridError(f"{where}: must be a table [[claim]], got {_short(table)}")
    _check_keys(table, ("text", "sql", "why"), where)
    for key in ("text", "sql"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise GridError(f"{where}: no {key}")
    return Claim(table["text"], table["sql"], str(table.get("why", "")))
