"""Grids and ids: what is written is what is read, and what does not matter does not matter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
from hypothesis import example, given, settings
from prunebench.errors import GridError
from prunebench.grid.axes import axis
from prunebench.grid.grid import Grid
from prunebench.records import Choice, Protocol, Trial, decode, encode

names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(lambda name: name not in ("use", "pipeline"))
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.booleans() | numbers | st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)
axes = st.dictionaries(names, st.lists(scalars, min_size=1, max_size=4), max_size=3)
entries = st.builds(lambda use, params: {"use": use, **params}, names, axes)
blocks = st.fixed_dictionaries(
    {
        "dataset": st.lists(names, min_size=1, max_size=2, unique=True),
        "model": st.lists(entries, min_size=1, max_size=2),
        "method": st.lists(entries | st.builds(lambda s: {"pipeline": s}, st.lists(entries, min_size=1, max_size=2)),
                           min_size=1, max_size=3),
        "seed": st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
    }
)  # fmt: skip
grids = st.fixed_dictionaries({"name": names, "block": st.lists(blocks, min_size=1, max_size=3)})


def toml(value: Any) -> str:
    """`value` as an inline TOML value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return repr(value)


def text_of(grid: dict[str, Any]) -> str:
    """The grid as a file."""
    tables = "".join(
        "[[block]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in block.items()) for block in grid["block"]
    )
    return f"name = {toml(grid['name'])}\n{tables}"


def drafted(grid: Grid) -> list[str]:
    """Every cell of the grid, as text."""
    return [
        repr((dataset, model, method, seed))
        for block in grid.blocks
        for part in [block]
        for dataset in (d for entry in part.datasets for d in entry.drafts())
        for model in (d for entry in part.models for d in entry.drafts())
        for method in (d for entry in part.methods for d in entry.drafts())
        for seed in part.seeds
    ]


def written_again(grid: Grid) -> dict[str, Any]:
    """The grid as tables, from what was read."""

    def entry(one: Any) -> dict[str, Any]:
        if one.stages:
            return {"pipeline": [entry(stage) for stage in one.stages]}
        return {"use": one.use, **{key: list(values) for key, values in one.axes.items()}}

    return {
        "name": grid.name,
        "block": [
            {"dataset": [e.use for e in block.datasets], "model": [entry(e) for e in block.models],
             "method": [entry(e) for e in block.methods], "seed": list(block.seeds)}
            for block in grid.blocks
        ],
    }  # fmt: skip


@given(grids)
@settings(max_examples=60, deadline=None)
def test_a_grid_that_is_written_and_read_again_has_the_same_cells(tables: dict[str, Any]) -> None:
    grid = Grid.parse(text_of(tables))
    again = Grid.parse(text_of(written_again(grid)))
    assert drafted(again) == drafted(grid)
    assert again.count == grid.count == len(drafted(grid))


params = st.dictionaries(names, scalars | st.none() | st.lists(numbers, max_size=3), max_size=6)


def trial(given: dict[str, Any], seed: int = 0) -> Trial:
    return Trial(Choice("data"), Choice("net"), Choice("method", given), seed, Protocol())


@given(params, st.randoms())
def test_an_id_does_not_depend_on_the_order_of_keys(given: dict[str, Any], dice: Any) -> None:
    shuffled = list(given.items())
    dice.shuffle(shuffled)
    assert trial(dict(shuffled)).id == trial(given).id


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(17, 25))
@example(0.1, 17)
@example(1e22, 25)
def test_an_id_does_not_depend_on_how_a_float_is_spelt(number: float, digits: int) -> None:
    spellings = (repr(number), f"{number:.{digits}g}", f"{number:.{digits}e}")
    texts = [text if any(c in text for c in ".e") else f"{text}.0" for text in spellings]
    block = '[[block]]\ndataset = "d"\nmodel = "m"\nmethod = {{ use = "x", keep = {} }}\n'
    grids = [Grid.parse(block.format(text.replace("e+", "e"))) for text in texts]
    kept = {next(iter(grid.blocks[0].methods[0].drafts())).params["keep"] for grid in grids}
    assert len({trial({"keep": value}).id for value in kept}) == 1


@given(params, st.integers(0, 2**63 - 1))
def test_different_questions_have_different_ids(given: dict[str, Any], seed: int) -> None:
    one = trial(given, seed)
    assert trial({**given, "one_more": 1}, seed).id != one.id
    assert trial(given, seed ^ 1).id != one.id


@given(params)
def test_a_trial_that_travelled_is_the_same_question(given: dict[str, Any]) -> None:
    one = trial(given)
    assert decode(encode(one), Trial).id == one.id


def test_an_id_is_the_same_in_every_process_and_forever() -> None:
    code = (
        "from prunebench.records import *;"
        "print(Trial(Choice('d', {'b': 1, 'a': 0.1}), Choice('m'), Choice('x', {'keep': 0.25}), 7, Protocol()).id)"
    )
    seeds = [{"PYTHONHASHSEED": seed, "PATH": ""} for seed in ("1", "2")]
    ids = {
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        for env in seeds
    }
    assert ids == {"d716ed4cb3023017\n"}


@given(st.lists(scalars, min_size=1, max_size=12))
def test_the_values_of_an_axis_are_those_given_once_each_in_their_order(values: list[Any]) -> None:
    unique, doubled = axis(values, "x")
    assert len(unique) + doubled == len(values)
    kept = [json.dumps([type(value).__name__, value]) for value in unique]
    assert len(set(map(lambda v: (type(v), v), unique))) == len(unique)
    assert kept == list(dict.fromkeys(kept))
    places = [next(i for i, v in enumerate(values) if type(v) is type(u) and v == u) for u in unique]
    assert places == sorted(places)


spans = st.fixed_dictionaries({}, optional={
    "range": st.lists(numbers | st.integers(), max_size=4),
    "linspace": st.lists(numbers | st.integers(), max_size=4),
    "logspace": st.lists(numbers | st.integers(), max_size=4),
    "integers": scalars,
})  # fmt: skip


@given(spans)
def test_a_span_gives_finite_values_or_one_line(span: dict[str, Any]) -> None:
    try:
        values, _ = axis(span, "here")
    except GridError as error:
        assert str(error).startswith("here") and "\n" not in str(error)
    else:
        assert 1 <= len(values) <= 1_000_000
        encode(list(values))
