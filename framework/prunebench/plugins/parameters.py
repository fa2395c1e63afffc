"""A plugin's fields against the values a grid gives: names, types and bounds, checked once, with a message each."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from typing import Any, Literal, get_args, get_origin

from prunebench.errors import PlanError, did_you_mean
from prunebench.records import Value
from prunebench.writing import short

_FIELD_TYPES: dict[type[Any], dict[str, Any]] = {}  # resolving annotations is slow, classes are few


def field_types(cls: type[Any]) -> dict[str, Any]:
    """Name -> type of the fields that a grid can sweep."""
    if cls not in _FIELD_TYPES:
        _FIELD_TYPES[cls] = _resolved(cls)
    return _FIELD_TYPES[cls]


def _resolved(cls: type[Any]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise PlanError(f"{cls.name}: a field's type cannot be resolved: {error}") from None
    return {item.name: hints[item.name] for item in dataclasses.fields(cls)}


def complete(cls: type[Any], given: dict[str, Value], freed: str = "") -> dict[str, Value]:
    """All fields with their values: the given ones checked, the others by default; `freed` is left None.

    Without additive fields (`param(…, additive=True)`) that stand at their default, which the plugin itself fills in.
    """
    kinds = field_types(cls)
    require_known(cls, list(given), list(kinds))
    values: dict[str, Value] = {}
    known = defaults(cls)
    for item in dataclasses.fields(cls):
        where = f"{cls.name}: {item.name}"
        if item.name == freed:
            values[item.name] = None
        elif item.name not in given and item.name in known:
            values[item.name] = known[item.name]
            if not _is_plain(values[item.name]):
                raise PlanError(_not_plain(cls.name, item.name, values[item.name]))
        elif item.name in given:
            values[item.name] = checked(given[item.name], kinds[item.name], item.metadata, where)
        else:
            raise PlanError(f"{where} has no default: the grid has to give it")
    return {name: value for name, value in values.items() if not _says_nothing(cls, name, value, freed)}


def _says_nothing(cls: type[Any], name: str, value: Value, freed: str) -> bool:
    """Whether the field came later and has its default."""
    item = cls.__dataclass_fields__[name]
    return bool(item.metadata.get("additive")) and name != freed and value == _json(item.default)


def require_known(cls: type[Any], names: list[str], known: list[str]) -> None:
    """Raise `PlanError` for all names that are no fields, at once."""
    unknown = [name for name in names if name not in known]
    if len(unknown) == 1:
        hint = did_you_mean(unknown[0], known) or f"; its fields: {', '.join(known) or 'none'}"
        raise PlanError(f"{cls.name} has no field {unknown[0]!r}{hint}")
    if unknown:
        told = ", ".join(map(repr, unknown))
        raise PlanError(f"{cls.name} has none of the fields {told}; its fields: {', '.join(known) or 'none'}")


def defaults(cls: type[Any]) -> dict[str, Value]:
    """The fields that have a default, with it."""
    plain = {f.name: _json(f.default) for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
    made = {
        f.name: _json(f.default_factory())
        for f in dataclasses.fields(cls)
        if f.default_factory is not dataclasses.MISSING
    }
    return {**plain, **made}


def create(cls: type[Any], values: dict[str, Value]) -> Any:
    """An instance with these complete values; the class's own `check` has its say."""
    kinds = field_types(cls)
    instance = cls(**{name: _native(value, kinds[name]) for name, value in values.items()})
    try:
        instance.check()
    except ValueError as error:
        raise PlanError(f"{cls.name}: {error}") from None
    return instance


def require_solvable(cls: type[Any], values: dict[str, Value], freed: str, target: str) -> None:
    """Raise `PlanError` where the class's `check` refuses these values whatever `target` makes of the field `freed`."""
    refusal: PlanError | None = None
    for value in _possible(cls, freed):
        try:
            create(cls, {**values, freed: value})
        except PlanError as error:
            refusal = refusal or error
        else:
            return
    if refusal:
        raise PlanError(f"{refusal} ({target} is solved for {freed})")


def _possible(cls: type[Any], name: str) -> list[Value]:
    """Some values that the field may have by its type and bounds."""
    item = next(item for item in dataclasses.fields(cls) if item.name == name)
    bounds = [item.metadata.get(key) for key in ("at_least", "at_most", "above", "below")]
    settings = [(getattr(cls, words, None) or {}).get(name) for words in ("example", "loosest")]
    found: list[Value] = []
    for value in [*settings, defaults(cls).get(name), 0.5, 1, 2, 8, *bounds]:
        with contextlib.suppress(PlanError):
            if value is not None:
                found.append(checked(value, field_types(cls)[name], item.metadata, name))
    return found


def default_fault(cls: type[Any]) -> str:
    """The first field whose default no grid can hold, and why; empty where all can."""
    return next((_not_plain(cls.name, *item) for item in defaults(cls).items() if not _is_plain(item[1])), "")


def _not_plain(plugin: str, field: str, value: Any) -> str:
    kind = type(value).__name__
    return f"{plugin}: {field} has a {kind} as default, which a grid cannot hold: use a number, a text or a tuple"


def _is_plain(value: Any) -> bool:
    """Whether a trial's record can hold it."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _json(value: Any) -> Value:
    return [_json(item) for item in value] if isinstance(value, list | tuple) else value


def _native(value: Value, kind: Any) -> Any:
    is_tuple = any(get_origin(k) is tuple or k is tuple for k in _alternatives(kind))
    return tuple(value) if isinstance(value, list) and is_tuple else value


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def checked(value: Value, kind: Any, bounds: typing.Mapping[str, Any], where: str) -> Value:
    """`value` as `kind` (a whole float serves as int, an int as float), within its bounds."""
    result, fits = _converted(value, kind)
    if not fits:
        raise PlanError(f"{where} must be {_kind_name(kind)}, got {short(value)}")
    _check_bounds(result, bounds, where)
    return result


def _converted(value: Value, kind: Any) -> tuple[Value, bool]:
    for alternative in _alternatives(kind):
        result, fits = _as(value, alternative)
        if fits:
            return result, True
    return value, False


def _as(value: Value, kind: Any) -> tuple[Value, bool]:
    if kind is Any:
        return value, True
    if get_origin(kind) is Literal:
        return value, any(type(value) is type(option) and value == option for option in get_args(kind))
    if get_origin(kind) in (list, tuple) or kind in (list, tuple):
        return _as_list(value, kind)
    if dict in (kind, get_origin(kind)):
        return value, isinstance(value, dict)
    if kind is bool or isinstance(value, bool):
        return value, isinstance(value, bool) and kind is bool
    if kind is float:
        return (float(value), True) if isinstance(value, int | float) and math.isfinite(value) else (value, False)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value), True
    return value, isinstance(kind, type) and isinstance(value, kind)


def _as_list(value: Value, kind: Any) -> tuple[Value, bool]:
    if not isinstance(value, list):
        return value, False
    inner = [k for k in get_args(kind) if k is not Ellipsis]
    kinds = inner * len(value) if len(inner) == 1 else inner or [Any] * len(value)
    if len(kinds) != len(value):
        return value, False
    items = [_converted(item, k) for item, k in zip(value, kinds, strict=True)]
    return [item for item, _ in items], all(fits for _, fits in items)


def _kind_name(kind: Any) -> str:
    names = []
    for k in _alternatives(kind):
        if get_origin(k) is Literal:
            names.append("one of " + ", ".join(repr(option) for option in get_args(k)))
        elif k is not type(None):
            plain = {
                int: "a whole number",
                float: "a finite number",
                str: "a text",
                bool: "true or false",
                dict: "a table",
            }
            names.append(plain.get(get_origin(k) or k, f"a {getattr(k, '__name__', str(k))}"))
    return " or ".join(names)


def _check_bounds(value: Value, bounds: typing.Mapping[str, Any], where: str) -> None:
    if choices := bounds.get("choices"):
        if value is not None and value not in choices:
            allowed = ", ".join(repr(choice) for choice in choices)
            raise PlanError(f"{where} must be one of {allowed}, got {short(value)}")
        return
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int | float) and not isinstance(number, bool):
            _check_number(number, bounds, where)


def _check_number(number: float, bounds: typing.Mapping[str, Any], where: str) -> None:
    rules = (
        ("at_least", "at least", number.__ge__),
        ("above", "above", number.__gt__),
        ("at_most", "at most", number.__le__),
        ("below", "below", number.__lt__),
    )
    for key, words, holds in rules:
        limit = bounds.get(key)
        if limit is not None and not holds(limit):
            raise PlanError(f"{where} must be {words} {limit:g}, got {short(number)}")
