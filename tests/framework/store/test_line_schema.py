"""A journal's line is read by the records that it was written from, whichever version wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import store_samples as samples
from prunebench.records import Measurement, encode
from prunebench.store import Store, open_results
from prunebench.store.journal import line_of
from prunebench.store.keys import result_keys
from prunebench.store.line_schema import RESULT_SHAPE, RUN_SHAPE, fault_of, shape_of

YOUNGER = [  # fields that 0.1.0 did not write
    "shown", "code", "data", "objective", "score", "score_before_finetune", "scores", "values", "weights",
    "block_parameter_count", "block_nonzero_parameter_count", "mode", "token_count", "context", "cache_bytes",
    "dense_cache_bytes", "validation_score", "in_place",
]  # fmt: skip


def line() -> dict[str, Any]:
    result = samples.result(samples.trial())
    return json.loads(encode({"keys": result_keys(result, "run-1"), "result": result}))


def without(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [without(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: without(inner, names) for key, inner in value.items() if key not in names}


def with_more(value: Any) -> Any:
    """Every table of the line with a key that no version knows yet."""
    if isinstance(value, list):
        return [with_more(item) for item in value]
    return {**{key: with_more(inner) for key, inner in value.items()}, "later": 1} if isinstance(value, dict) else value


def rows_of(folder: Path, body: dict[str, Any]) -> list[Any]:
    """What the store tells of one result with the line `body`; what is filed as it came, as JSON, stays out."""
    folder.mkdir()
    store = Store(folder / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        journal._write(line_of("result", body))
    assert not store.merge().damages
    as_it_came = "achieved|solved|scores|parameters|params|protocol.*|conditions|storage|packages|plugins|data|later"
    columns = f"columns(lambda name: not regexp_full_match(name, '{as_it_came}'))"
    with open_results(store.path) as results:
        views = ("trials", "latency_samples", "layers", "curves", "stages", "metrics")
        return [results.query(f"select {columns} from {view}").rows(named=True) for view in views]


def test_lines_of_older_and_newer_versions_read_as_those_of_today(tmp_path: Path) -> None:
    today = rows_of(tmp_path / "today", line())
    assert all(today)
    assert rows_of(tmp_path / "newer", with_more(line())) == today
    assert rows_of(tmp_path / "older", without(line(), YOUNGER)) == today


def named(shape: Any, record: Any) -> Iterator[str]:
    """The fields of `record`, and of the records in it, for which `shape` has no place."""
    for item in fields(record):
        inner, value = shape.get(item.name), getattr(record, item.name)
        if inner is None:
            yield item.name
        elif isinstance(inner, dict):
            yield from named(inner, value)
        elif isinstance(inner, list) and isinstance(inner[0], dict):
            assert value and is_dataclass(value[0]), f"the sample has no {item.name}"
            yield from named(inner[0], value[0])


def test_every_field_of_a_record_has_a_place_in_the_shape() -> None:
    assert list(named(RESULT_SHAPE["result"], samples.result(samples.trial()))) == []
    assert list(named(RUN_SHAPE, samples.run())) == []
    assert shape_of(Measurement)["layers"][0]["shape_after"] == [["BIGINT"]]
    assert (shape_of(int | None), shape_of(tuple[float, ...]), shape_of(dict[str, int])) == (
        "BIGINT",
        ["DOUBLE"],
        "JSON",
    )


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"status": 3}, "Expected `str`, got `int` - at `$.result.status`"),
        ({"trial": {}}, "missing required field `dataset` - at `$.result.trial`"),
        ({"provenance": None}, "Expected `object`, got `null` - at `$.result.provenance`"),
        ({"status": "a word of tomorrow"}, ""),
    ],
)
def test_a_line_without_what_it_is_filed_by_is_no_result(changed: dict[str, Any], fault: str) -> None:
    body = line()
    body["result"] |= changed
    found = fault_of("result", json.dumps(body))
    assert fault in found and bool(fault) == bool(found)


AT_ONCE = """
import sys, threading
from prunebench.records import Choice, Protocol, Trial, decode, encode

line = encode(Trial(Choice("d"), Choice("m"), Choice("x"), 0, Protocol()))
gate = threading.Barrier(8)
sys.setswitchinterval(1e-6)


def work():
    gate.wait()
    found.append(decode(line, Trial))


found = []
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len({trial.id for trial in found}))
"""


def test_threads_that_decode_for_the_first_time_at_once_are_served():
    """msgspec by itself ends the process in eleven of twelve tries."""
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "8 1\n"), done.stderr
