"""The reason why an `exclude` rule leaves nothing out; most often it is a typo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prunebench.errors import did_you_mean
from prunebench.grid.blocks import Draft, Exclusion
from prunebench.records import DENSE, Value
from prunebench.writing import short

CELL_KEYS = ("dataset", "model", "method", "seed")


def idle_reason(
    rule: Exclusion,
    datasets: Sequence[Draft],
    models: Sequence[Draft],
    methods: Sequence[Draft],
    seeds: Sequence[int],
) -> str:
    """Why `rule` covers no cell of the block that these span, or empty where it covers one.

    A block is a product, so each axis is checked by itself, without listing the cells.
    """
    fixed: tuple[tuple[str, Sequence[Value]], ...] = (
        ("dataset", [draft.use for draft in datasets]),
        ("model", [draft.use for draft in models]),
        ("seed", list(seeds)),
    )
    for key, present in fixed:
        if why := _unmatched(key, rule.match.get(key), present):
            return why
    return _unmatched_method(rule, methods)


def _unmatched(key: str, allowed: Sequence[Value] | None, present: Sequence[Value]) -> str:
    if allowed is None or any(value in allowed for value in present):
        return ""
    there = list(dict.fromkeys(map(short, present)))
    wanted = ", ".join(map(short, allowed))
    hint = did_you_mean(str(allowed[0]), [str(value) for value in present if isinstance(value, str)])
    return f"the block has no {key} {wanted}{hint or f'; it has {_some(there)}'}"


def _unmatched_method(rule: Exclusion, methods: Sequence[Draft]) -> str:
    """The same for what a method has: its name and its parameters have to match in one and the same entry."""
    allowed = rule.match.get("method")
    if allowed and set(allowed) == {DENSE.use}:
        return "the dense network cannot be left out: every ratio is a comparison with it"
    named = [method for method in methods if allowed is None or method.use in allowed]
    if not named:
        stages = [stage.use for method in methods for stage in method.stages]
        if allowed and any(use in allowed for use in stages):
            return f"{short(allowed[0])} is a stage of a pipeline, and a stage cannot be left out"
        return _unmatched("method", allowed, [method.use for method in methods])
    for key in (key for key in rule.match if key not in CELL_KEYS):
        present = [method.params[key] for method in named if key in method.params]
        if not present:
            return _unknown_parameter(key, named)
        if why := _unmatched(key, rule.match[key], present):
            return why
    if any(_fits(rule, method) for method in named):
        return ""
    return "no method of the block has all of these values at once"


def _unknown_parameter(key: str, methods: Sequence[Draft]) -> str:
    known = dict.fromkeys([*(name for method in methods for name in method.params), *CELL_KEYS])
    if any(key in stage.params for method in methods for stage in method.stages):
        return f"{short(key)} belongs to a stage of a pipeline, and a stage cannot be left out"
    hint = did_you_mean(key, known) or f"; a rule may say {_some(known)}"
    return f"no method that it names gives {short(key)} in this block{hint}"


def _fits(rule: Exclusion, method: Draft) -> bool:
    return all(method.params.get(key) in allowed for key, allowed in rule.match.items() if key not in CELL_KEYS)


def _some(words: Iterable[str], most: int = 8) -> str:
    listed = list(words)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
