"""Reads and checks the values of one axis: a scalar, a list, or a range."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prunebench.errors import GridError, did_you_mean
from prunebench.records import Value
from prunebench.writing import fits_in_64_bits, short

if TYPE_CHECKING:
    from prunebench.grid.blocks import Block

TEXT_LIMIT = 10_000
LENGTH_LIMIT = 1_000_000
KINDS = ("range", "linspace", "logspace")
_TOGETHER: ContextVar[list[str] | None] = ContextVar("unknown keys found so far", default=None)


def axis(value: Any, where: str) -> tuple[tuple[Value, ...], int]:
    """The different values of one axis, and how many duplicates were left out."""
    values = _spanned(value, where) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    if not values:
        raise GridError(f"{where}: the axis is empty: 0 trials")
    for item in values:
        _check_value(item, where)
    unique: dict[object, Any] = {}
    for item in values:
        unique.setdefault(_identity(item), item)
    return tuple(unique.values()), len(values) - len(unique)


def tables(value: Any, where: str) -> tuple[tuple[Value, ...], int]:
    """As `axis`, of an axis whose values are tables: one of them, or a list."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise GridError(f"{where}: the axis is empty: 0 trials")
    for table in values:
        if not isinstance(table, dict):
            raise GridError(f"{where}: expected a table {{ name = value, … }} or a list of them, got {short(table)}")
        for key, item in table.items():
            _check_inner(item, f"{where}.{key_name(key)}")
    unique = {repr(_identity(table)): table for table in reversed(values)}
    return tuple(reversed(unique.values())), len(values) - len(unique)


def _check_inner(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_inner(item, f"{where}.{key_name(key)}")
    else:
        _check_value(value, where)


class UnknownKeys(GridError):
    """Unknown keys of a grid; `blocks` are its blocks as far as they can be read, to look for further faults in."""

    def __init__(self, message: str, blocks: tuple[Block, ...] = ()) -> None:
        super().__init__(message)
        self.blocks = blocks


def check_keys(table: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    """Raise `GridError` for the keys that are not allowed, all at once; inside `unknown_keys_together`, at its end."""
    unknown = [key for key in table if key not in allowed]
    if unknown:
        hints = [did_you_mean(key, allowed) for key in unknown]
        told = ", ".join(f"{short(key)}{hint.replace(', ', ' (', 1) + ')' if hint and len(unknown) > 1 else hint}"
                         for key, hint in zip(unknown, hints, strict=True))  # fmt: skip
        known = "" if all(hints) else f"; known: {', '.join(allowed)}"
        fault = f"{where}: unknown key{'s' if len(unknown) > 1 else ''} {told}{known}"
        together = _TOGETHER.get()
        if together is None:
            raise GridError(fault)
        together.append(fault)


@contextlib.contextmanager
def unknown_keys_together() -> Iterator[None]:
    """Collects the unknown keys found inside; one `UnknownKeys` at the end names them all, before any other fault."""
    found: list[str] = []
    token = _TOGETHER.set(found)
    try:
        yield
    except GridError as error:
        raise (UnknownKeys("; ".join(found)) if found else error) from None
    finally:
        _TOGETHER.reset(token)
    if found:
        raise UnknownKeys("; ".join(found))


def key_name(key: str) -> str:
    """A table's key as it may stand in a message."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else short(key)


def _identity(item: Any) -> object:
    """Equal for values that say the same: 1 and true are not 1.0, lists may be keys."""
    if isinstance(item, list):
        return (list, tuple(_identity(inner) for inner in item))
    if isinstance(item, dict):
        return (dict, tuple(sorted((key, _identity(inner)) for key, inner in item.items())))
    return (type(item), item)


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_value(item, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise GridError(f"{where}: must be finite, got {value}")
    elif isinstance(value, int) and not fits_in_64_bits(value):
        raise GridError(f"{where}: the number is too large: it has to fit in 64 bits")
    elif isinstance(value, str) and len(value) > TEXT_LIMIT:
        raise GridError(f"{where}: a text of {len(value):,} characters; at most {TEXT_LIMIT:,} are allowed")
    elif not isinstance(value, bool | int | float | str):
        raise GridError(f"{where}: expected a number, a text or true/false, got {short(value)}")


def _spanned(table: dict[str, Any], where: str) -> list[Any]:
    """`{ range = [0, 5] }`, `{ linspace = [0, 1, 5] }`, `{ logspace = [1, 100, 5], integers = true }`."""
    kinds = [key for key in KINDS if key in table]
    if len(kinds) != 1:
        raise GridError(f"{where}: expected one of {', '.join(KINDS)}, got {short(table)}")
    check_keys(table, (*kinds, "integers"), where)
    numbers = table[kinds[0]]
    if not isinstance(numbers, list) or not all(_is_number(n) for n in numbers):
        raise GridError(f"{where}: {kinds[0]} takes a list of finite numbers, got {short(numbers)}")
    try:
        values = _range(numbers, where) if kinds[0] == "range" else _spaced(kinds[0], numbers, where)
        return list(dict.fromkeys(round(v) for v in values)) if table.get("integers") else values
    except (OverflowError, ValueError):
        raise GridError(f"{where}: {kinds[0]} reaches numbers that are too large, got {numbers}") from None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return fits_in_64_bits(value) if isinstance(value, int) else math.isfinite(value)


def _range(numbers: list[Any], where: str) -> list[Any]:
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] == 0):
        raise GridError(f"{where}: range takes [first, end] or [first, end, step], without end itself, got {numbers}")
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
    if count > LENGTH_LIMIT:
        raise GridError(f"{where}: an axis of {count:,} values; at most {LENGTH_LIMIT:,} are allowed")


def _tidy(value: Any) -> Any:
    """12 significant digits: 0.30000000000000004 is 0.3 on every machine."""
    return float(f"{value:.12g}") if isinstance(value, float) else value
