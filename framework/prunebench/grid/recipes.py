"""Reads the tables `train` and `finetune` of a protocol, and refuses keys that contradict one another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec

from prunebench.errors import GridError, did_you_mean
from prunebench.grid.axes import check_keys
from prunebench.recipe import NAMED, NOTHING, Augmentation, Recipe, changed
from prunebench.writing import short

OF_SCHEDULE = {"milestones": "multi_step", "step_epochs": "step"}
LARGEST_MAGNITUDE = 30


def recipe_table(table: Mapping[str, Any], default: Recipe, where: str) -> dict[str, Any]:
    """All keys of the recipe as plain data: a named recipe overrides the default, the table's own keys both."""
    table = dict(table)
    named = _named(table.pop("recipe", None), where)
    check_keys(table, [*(f.name for f in fields(Recipe)), "recipe"], where)
    plain: dict[str, Any] = msgspec.to_builtins(default)
    wishes = {**plain["augment"], **named.get("augment", {})}
    if "augment" in table:
        wishes |= _augmentation(table["augment"], f"{where}.augment")
    return {**plain, **named, **table, "augment": wishes}


def _named(name: Any, where: str) -> Mapping[str, Any]:
    if name is None:
        return {}
    known = ", ".join(NAMED)
    if not isinstance(name, str) or name not in NAMED:
        hint = did_you_mean(name, list(NAMED)) if isinstance(name, str) else ""
        raise GridError(f"{where}.recipe: no recipe {short(name)}{hint or f'; known: {known}'}")
    return NAMED[name]


def _augmentation(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise GridError(f"{where} must be a table such as {{ crop = 4, flip = true }}, got {short(table)}")
    check_keys(table, [f.name for f in fields(Augmentation)], where)
    return dict(table)


def named_recipes(table: Any) -> tuple[tuple[str, str], ...]:
    """("train", "cifar-200") for each part of the protocol that names a recipe."""
    if not isinstance(table, dict):
        return ()
    parts = ((part, table.get(part)) for part in ("train", "finetune"))
    return tuple((part, str(held["recipe"])) for part, held in parts if isinstance(held, dict) and "recipe" in held)


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raise `GridError` for a value out of bounds, and for keys of which one has no effect beside the other."""
    _check_bounds(recipe, where)
    _check_augmentation(recipe.augment, f"{where}.augment")
    _check_optimizer(recipe, where)
    _check_schedule(recipe, where)


def _check_bounds(recipe: Recipe, where: str) -> None:
    for key in ("epochs", "steps", "patience", "warmup", "step_epochs"):
        _require(getattr(recipe, key) >= 0, f"{where}.{key}", "at least 0", getattr(recipe, key))
    _require(recipe.batch_size >= 1, f"{where}.batch_size", "at least 1", recipe.batch_size)
    for key in ("lr", "gamma", "temperature"):
        value = getattr(recipe, key)
        _require(value > 0 and math.isfinite(value), f"{where}.{key}", "above 0", value)
    for key in ("momentum", "label_smoothing", "ema"):
        _require(0 <= getattr(recipe, key) < 1, f"{where}.{key}", "in [0, 1)", getattr(recipe, key))
    for key in ("weight_decay", "clip"):
        value = getattr(recipe, key)
        _require(value >= 0 and math.isfinite(value), f"{where}.{key}", "at least 0", value)
    _require(0 <= recipe.distill <= 1, f"{where}.distill", "in [0, 1]", recipe.distill)


def _check_augmentation(wish: Augmentation, where: str) -> None:
    for key in ("crop", "rand_augment"):
        _require(getattr(wish, key) >= 0, f"{where}.{key}", "at least 0", getattr(wish, key))
    for key in ("mixup", "cutmix"):
        value = getattr(wish, key)
        _require(value >= 0 and math.isfinite(value), f"{where}.{key}", "at least 0", value)
    _require(0 < wish.resized_crop <= 1, f"{where}.resized_crop", "in (0, 1]", wish.resized_crop)
    _require(0 <= wish.erase <= 1, f"{where}.erase", "in [0, 1]", wish.erase)
    _require(0 <= wish.magnitude <= LARGEST_MAGNITUDE, f"{where}.magnitude", "in [0, 30]", wish.magnitude)
    if wish.magnitude != NOTHING.magnitude and not wish.rand_augment:
        raise GridError(f"{where}.magnitude applies to rand_augment, which is 0: give it, or leave magnitude out")


def _check_optimizer(recipe: Recipe, where: str) -> None:
    if recipe.nesterov and (recipe.optimizer != "sgd" or not recipe.momentum):
        raise GridError(
            f'{where}.nesterov needs optimizer = "sgd" with a momentum, got {recipe.optimizer} with {recipe.momentum}'
        )
    if recipe.decay == "weights" and not recipe.weight_decay:
        raise GridError(f"{where}.decay chooses what weight_decay applies to, which is 0: give it, or leave decay out")
    if recipe.temperature != Recipe().temperature and not recipe.distill:
        raise GridError(f"{where}.temperature applies to distill, which is 0: give it, or leave temperature out")


def _check_schedule(recipe: Recipe, where: str) -> None:
    for key, schedule in OF_SCHEDULE.items():
        given = bool(getattr(recipe, key))
        if given and recipe.schedule != schedule:
            raise GridError(f'{where}.{key} belongs to schedule = "{schedule}", got schedule = "{recipe.schedule}"')
        if recipe.schedule == schedule and not given:
            raise GridError(f'{where}: schedule = "{schedule}" needs {key}')
    if recipe.gamma != Recipe().gamma and recipe.schedule not in OF_SCHEDULE.values():
        raise GridError(f'{where}.gamma belongs to schedule = "step" or "multi_step", got "{recipe.schedule}"')
    if recipe.schedule == "one_cycle" and recipe.warmup:
        raise GridError(f'{where}.warmup: schedule = "one_cycle" has a warmup of its own: leave this one out')
    if list(recipe.milestones) != sorted(set(recipe.milestones)) or min(recipe.milestones, default=1) < 1:
        raise GridError(f"{where}.milestones must be ascending, the first at least 1, got {list(recipe.milestones)}")
    _check_length(recipe, where)


def _check_length(recipe: Recipe, where: str) -> None:
    """No schedule is longer than the training, where the recipe itself says how long that is."""
    length, unit = (recipe.steps, "steps") if recipe.steps else (recipe.epochs, "epochs")
    last = {"milestones": max(recipe.milestones, default=0), "step_epochs": recipe.step_epochs, "warmup": recipe.warmup}
    for key, end in last.items():
        if recipe.trains and end >= length:
            raise GridError(f"{where}.{key}: {end} is not before the end of the training, after {length} {unit}")


def _require(holds: bool, key: str, allowed: str, value: Any) -> None:
    if not holds:
        raise GridError(f"{key} must be {allowed}, got {value}")


def shown(recipe: Recipe) -> str:
    """Every key that is not at its default, as a grid writes it."""
    from prunebench.grid.lines import value

    return value(changed(recipe))
