"""The tables `[protocol]` and `[run]` of a grid file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from prunebench.errors import GridError
from prunebench.grid.axes import check_keys, key_name
from prunebench.grid.recipes import check_recipe, recipe_table
from prunebench.recipe import changed
from prunebench.records import LatencyProtocol, Protocol, Recipe, converted
from prunebench.writing import fits_in_64_bits, short

THREAD_LIMIT = 1024
LONGEST_SECONDS = 10_000 * 86_400  # 27 years; the kernel's own clocks take more than ten times as much


@dataclass(frozen=True)
class RunOptions:
    """How trials are run; not part of their identity."""

    timeout_seconds: float | None = None
    retries: dict[str, int] | None = None
    isolate: bool = False  # a fresh worker for each foreign distribution's trials


AXES = (("latency", "runtime"), ("finetune", "epochs"), ("retraining",))  # keys whose list is an axis


def protocol_from(table: Any, warn: Callable[[str], None] = lambda text: None) -> Protocol:
    """The default protocol with the keys of `table`; `warn` is called with a text for each duplicate left out."""
    if not isinstance(table, dict):
        raise GridError(f"[protocol] must be a table, got {short(table)}")
    check_keys(table, [f.name for f in fields(Protocol)], "protocol")
    _check_size(table, "protocol")
    protocol = Protocol()
    whole: dict[str, Any] = {**_plain(protocol), **table}
    for key in ("train", "finetune", "latency"):
        if key in table:
            whole[key] = _filled(getattr(protocol, key), table[key], f"protocol.{key}")
    if isinstance(table.get("metrics"), list):
        whole["metrics"] = [_metric(item) for item in table["metrics"]]
    result: Protocol = _typed(Protocol, whole, "protocol")
    _check_protocol(result)
    return _without_doubles(result, warn)


def protocols_from(table: Any, warn: Callable[[str], None] = lambda text: None) -> tuple[Protocol, ...]:
    """As `protocol_from`, one per combination of what the keys of `AXES` list."""
    tables = [table]
    for path in AXES:
        told = warn
        found = []
        for one in tables:
            found += _each(one, path, told)
            told = _silent
        tables = found
    return tuple(protocol_from(one, warn if place == 0 else _silent) for place, one in enumerate(tables))


def _silent(text: str) -> None:
    """Takes warnings that were given already."""


def _each(table: Any, path: tuple[str, ...], warn: Callable[[str], None]) -> list[Any]:
    """The table with each of the values that stand at `path`; itself where no list does."""
    inner = table
    for key in path:
        inner = inner.get(key) if isinstance(inner, dict) else None
    if not isinstance(inner, list):
        return [table]
    where = ".".join(("protocol", *path))
    if not inner:
        raise GridError(f"{where}: the axis is empty: 0 trials")
    each = [value for place, value in enumerate(inner) if value not in inner[:place]]
    if len(each) < len(inner):
        warn(f"{where}: {len(inner) - len(each)} duplicate value(s) left out")
    return [_with(table, path, value) for value in each]


def _with(table: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *rest = path
    return {**table, key: _with(table[key], tuple(rest), value) if rest else value}


def _without_doubles(protocol: Protocol, warn: Callable[[str], None]) -> Protocol:
    """A batch size that is given twice is timed once, as a value of an axis is one trial."""
    batch = protocol.latency.batch
    once = tuple(dict.fromkeys(batch))
    if once == batch:
        return protocol
    warn(f"protocol.latency.batch: {len(batch) - len(once)} duplicate value(s) left out")
    return replace(protocol, latency=replace(protocol.latency, batch=once))


def _check_size(value: Any, where: str) -> None:
    """Refuse whole numbers that nothing after the grid could hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_size(inner, f"{where}.{key_name(key)}")
    elif isinstance(value, list):
        for inner in value:
            _check_size(inner, where)
    elif isinstance(value, int) and not fits_in_64_bits(value):
        raise GridError(f"{where}: the number is too large: it has to fit in 64 bits")


def _filled(default: Recipe | LatencyProtocol, table: Any, where: str) -> dict[str, Any]:
    """All keys of the part as plain data, of the right types."""
    if not isinstance(table, dict):
        raise GridError(f"{where} must be a table, got {short(table)}")
    if isinstance(default, Recipe):
        whole = recipe_table(table, default, where)
    else:
        check_keys(table, [f.name for f in fields(default)], where)
        whole = {**_plain(default), **table}
        if isinstance(table.get("batch"), int):
            whole["batch"] = [table["batch"]]
    found: dict[str, Any] = _plain(_typed(type(default), whole, where))
    return found


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _typed(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    try:
        return converted(values, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        place = place.rstrip("`")
        raise GridError(f"{where}{place}: {reason[:1].lower()}{reason[1:]}{_choices(kind, place)}") from None


def _choices(kind: type[Any], place: str) -> str:
    """The words that the field at `place` accepts, if it is one of words."""
    hint = get_type_hints(kind).get(place.lstrip("."))
    if get_origin(hint) is not Literal:
        return ""
    *others, last = map(str, get_args(hint))
    return f", expected {', '.join(others)} or {last}"


def _metric(item: Any) -> Any:
    """A metric's name, or its name and settings as plain data; a list of values is one setting, no axis."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict) or not isinstance(item.get("use"), str):
        raise GridError(f'protocol.metrics: expected a name or {{ use = "name", … }}, got {short(item)}')
    return {"use": item["use"], "params": {key: value for key, value in item.items() if key != "use"}}


def _check_metrics(protocol: Protocol) -> None:
    """Two tables of one metric would give two numbers of one name."""
    names = protocol.metric_names
    for one in protocol.metrics:
        if not isinstance(one, str) and names.count(one.use) > 1:
            raise GridError(f"protocol.metrics: {one.use} is named {names.count(one.use)} times, name it once")


def _check_protocol(protocol: Protocol) -> None:
    _check_metrics(protocol)
    for part in ("train", "finetune"):
        check_recipe(getattr(protocol, part), f"protocol.{part}")
    if protocol.train.distill:
        raise GridError("protocol.train.distill: the dense network has no teacher: distill belongs in finetune")
    _check_retraining(protocol)
    latency = protocol.latency
    for batch in latency.batch:
        _at_least("protocol.latency.batch", batch, 1)
    for key in ("threads", "rounds", "groups"):
        _at_least(f"protocol.latency.{key}", getattr(latency, key), 1)
    _at_least("protocol.latency.decode", latency.decode, 0)
    if not (latency.max_seconds > 0 and math.isfinite(latency.max_seconds)):
        raise GridError(f"protocol.latency.max_seconds must be above 0, got {latency.max_seconds}")
    _check_runtime(latency)
    _at_least("protocol.calibration", protocol.calibration, 1)
    _within("protocol.threads", protocol.threads, 1, THREAD_LIMIT)
    _at_least("protocol.evaluation_limit", protocol.evaluation_limit, 0)


def _check_retraining(protocol: Protocol) -> None:
    """A rewound training is the dense network's own: its recipe is `train`, of which `finetune` gives the epochs."""
    mode, train, own = protocol.retraining, protocol.train, protocol.finetune
    if mode == "finetune":
        return
    usual = replace(own, epochs=Recipe().epochs)
    if usual != Recipe():
        raise GridError(
            f'protocol.retraining = "{mode}" trains by protocol.train: finetune takes epochs only, got '
            f"{', '.join(changed(usual))}"
        )
    if train.steps or train.patience or not train.epochs:
        raise GridError(
            f'protocol.retraining = "{mode}" needs train.epochs, and neither train.steps nor train.patience'
        )
    if mode.startswith("rewind") and not 1 <= own.epochs <= train.epochs:
        raise GridError(
            f'protocol.retraining = "{mode}" rewinds by finetune.epochs, which must be in [1, {train.epochs}] '
            f"as train.epochs is {train.epochs}, got {own.epochs}"
        )
    if mode.startswith("scratch") and own.epochs:
        raise GridError(f'protocol.retraining = "{mode}" trains as long as train does: leave finetune.epochs out')


def _check_runtime(latency: LatencyProtocol) -> None:
    """Refuse options that only torch itself has, where another runtime is chosen."""
    usual = LatencyProtocol()
    asked = [
        key
        for key in ("memory_format", "in_place", "compile", "decode")
        if getattr(latency, key) != getattr(usual, key)
    ]
    if latency.runtime in ("onnxruntime", "openvino", "executorch") and latency.dtype != "float32":
        asked.append("dtype")
    if latency.runtime == "torch_compile":
        asked = [key for key in asked if key in ("compile", "decode")]
    if asked and latency.runtime != "torch":
        raise GridError(f'protocol.latency.{asked[0]} is for runtime = "torch", got runtime = "{latency.runtime}"')
    if latency.dynamic_batch and latency.runtime not in ("onnxruntime", "openvino"):
        raise GridError(
            f'protocol.latency.dynamic_batch is for runtime = "onnxruntime" or "openvino", got "{latency.runtime}"'
        )


def _within(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise GridError(f"{key} must be in [{least}, {most}], got {value}")


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise GridError(f"{key} must be at least {least}, got {value}")


def run_options(table: Any) -> RunOptions:
    """The options that the table gives."""
    if not isinstance(table, dict):
        raise GridError(f"[run] must be a table, got {short(table)}")
    check_keys(table, ("timeout", "retries", "isolate"), "run")
    options = RunOptions()
    if "timeout" in table:
        options = replace(options, timeout_seconds=seconds(table["timeout"], "run.timeout"))
    if "isolate" in table:
        if not isinstance(table["isolate"], bool):
            raise GridError(f"run.isolate must be true or false, got {short(table['isolate'])}")
        options = replace(options, isolate=table["isolate"])
    if "retries" in table:
        retries = table["retries"]
        if not isinstance(retries, dict):
            raise GridError(f"run.retries must be a table, got {short(retries)}")
        check_keys(retries, ("killed", "oom"), "run.retries")
        for key, value in retries.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
                raise GridError(f"run.retries.{key} must be a whole number in [0, 100], got {short(value)}")
        options = replace(options, retries=retries)
    return options


def seconds(value: Any, where: str) -> float:
    """A duration in seconds: a positive number, or a text such as `90s`, `30m`, `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", value) if isinstance(value, str) else None
    if match:
        number = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 2**63 else math.inf
    else:
        raise GridError(f'{where} must be a duration such as 90, "90s", "30m" or "2h", got {short(value)}')
    if not (0 < number <= LONGEST_SECONDS):
        raise GridError(f"{where} must be above 0 and at most {LONGEST_SECONDS // 86400} days, got {short(value)}")
    return number
