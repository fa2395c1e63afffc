"""The grid file: what it may say, and the line that every fault gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from prunebench.errors import GridError
from prunebench.grid.grid import Grid

BLOCK = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nmethod = "dense"\n'


def drafts(text: str, where: str = "methods"):
    grid = Grid.parse(text)
    return [draft for entry in getattr(grid.blocks[0], where) for draft in entry.drafts()]


def method_params(line: str) -> list[dict]:
    return [d.params for d in drafts(BLOCK.replace('method = "dense"', f"method = {line}"))]


def test_an_entry_is_the_product_of_its_axes_first_axis_slowest():
    assert method_params('{ use = "m", keep = [0.1, 0.5], section = ["fc", "conv"] }') == [
        {"keep": 0.1, "section": "fc"},
        {"keep": 0.1, "section": "conv"},
        {"keep": 0.5, "section": "fc"},
        {"keep": 0.5, "section": "conv"},
    ]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("{ range = [0, 3] }", [0, 1, 2]),
        ("{ range = [1, 10, 4] }", [1, 5, 9]),
        ("{ range = [0.1, 0.4, 0.1] }", [0.1, 0.2, 0.3]),
        ("{ linspace = [0, 1, 5] }", [0, 0.25, 0.5, 0.75, 1]),
        ("{ logspace = [1, 1000, 4] }", [1, 10, 100, 1000]),
        ("{ logspace = [1, 10, 4], integers = true }", [1, 2, 5, 10]),
        ("7", [7]),
        ("[[1, 2]]", [[1, 2]]),
    ],
)
def test_axes_span(axis, values):
    assert [p["x"] for p in method_params(f'{{ use = "m", x = {axis} }}')] == values


def test_blocks_are_a_union_and_counted_without_expanding():
    block = BLOCK.replace('"dense"', '[{ use = "m", x = { range = [0, 1000] }, y = { range = [0, 1000] } }]')
    grid = Grid.parse(BLOCK + block + block.replace('"lenet5"', '["a", "b"]') + "seed = { range = [0, 500] }\n")
    assert grid.count == 3 + 3 * 10**6 + 2 * 500 * 10**6  # three seeds where none are given


def test_a_pipeline_is_the_product_of_its_stages():
    found = drafts(
        BLOCK.replace(
            'method = "dense"', 'method = [{ pipeline = [{ use = "a", x = [1, 2] }, { use = "b", y = [3, 4] }] }]'
        )
    )
    assert [(d.stages[0].params["x"], d.stages[1].params["y"]) for d in found] == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_an_exclusion_covers_by_every_key_it_gives():
    grid = Grid.parse(BLOCK + 'exclude = [{ method = "m", x = [1, 2], why = "too slow" }]\n')
    rule = grid.blocks[0].exclusions[0]
    dataset, model = drafts(BLOCK, "datasets")[0], drafts(BLOCK, "models")[0]
    hit, miss = method_params('{ use = "m", x = [2, 3] }')
    draft = drafts(BLOCK.replace('"dense"', '{ use = "m", x = [2, 3] }'))
    assert rule.covers(dataset, model, draft[0], 0) and hit == {"x": 2}
    assert not rule.covers(dataset, model, draft[1], 0) and miss == {"x": 3}


def test_the_protocol_takes_every_key_of_its_records():
    text = """
    [protocol]
    calibration = 64
    train = { epochs = 3, optimizer = "sgd", lr = 1 }
    finetune = { epochs = 1 }
    latency = { batch = 8, threads = 2, memory_format = "fastest", in_place = true }
    """
    protocol = Grid.parse(text + BLOCK).protocol
    assert (protocol.latency.memory_format, protocol.latency.in_place) == ("fastest", True)
    assert (protocol.train.epochs, protocol.train.optimizer, protocol.train.lr) == (3, "sgd", 1.0)
    assert protocol.latency.batch == (8,) and protocol.calibration == 64


def test_duplicate_axis_values_are_one_with_a_warning():
    grid = Grid.parse(BLOCK.replace('"dense"', '{ use = "m", x = [1, 1, 2] }'))
    assert grid.count == 3 * 2 and "duplicate" in grid.warnings[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "empty"),
        ("x = ]", "grid:1:5: invalid value"),
        ("name = 'a'\nname = 'b'\n", "grid:2:"),
        ("[[blok]]", "unknown key 'blok', did you mean 'block'?"),
        ("[protocol]\ntrian = {}\n" + BLOCK, "unknown key 'trian', did you mean 'train'?"),
        ("[protocol]\ntrain = { epoch = 1 }\n" + BLOCK, "protocol.train: unknown key 'epoch', did you mean 'epochs'?"),
        ("[protocol]\ntrain = { epochs = 'x' }\n" + BLOCK, "protocol.train.epochs: expected `int`, got `str`"),
        ("[protocol]\ntrain = { epochs = -1 }\n" + BLOCK, "protocol.train.epochs must be at least 0, got -1"),
        (
            "[protocol]\nlatency = { memory_format = 'fast' }\n" + BLOCK,
            "memory_format: invalid enum value 'fast', expected contiguous, channels_last or fastest",
        ),
        ("[protocol]\nlatency = { in_place = 'yes' }\n" + BLOCK, "latency.in_place: expected `bool`, got `str`"),
        ("[protocol]\ntrain = { lr = nan }\n" + BLOCK, "protocol.train.lr must be above 0, got nan"),
        ("name = '../x'\n" + BLOCK, "name '../x' is not allowed"),
        ("name = 'x.'\n" + BLOCK, "must not end in a dot"),
        ("block = 3\n", "no [[block]]: 0 trials"),
        ("[[block]]\nmodel = 'a'\nmethod = 'b'\n", "block 1: no dataset"),
        (BLOCK.replace('"dense"', "[]"), "axis method is empty: 0 trials"),
        (BLOCK.replace('"dense"', '{ use = "m", x = [] }'), "the axis is empty: 0 trials"),
        (BLOCK.replace('"dense"', '{ use = "m", x = inf }'), "must be finite, got inf"),
        (BLOCK.replace('"dense"', '{ use = "m", x = 2026-01-01 }'), "expected a number, a text or true/false"),
        (BLOCK.replace('"dense"', '{ use = "m", x = 9223372036854775808 }'), "too large"),
        (BLOCK.replace('"dense"', '{ use = "m", x = { linspac = [0, 1, 2] } }'), "one of range, linspace, logspace"),
        (BLOCK.replace('"dense"', '{ use = "m", x = { logspace = [0, 1, 2] } }'), "positive ends"),
        (BLOCK.replace('"dense"', '{ use = "m", x = { range = [0, 1, 0] } }'), "range takes"),
        (BLOCK.replace('"dense"', '{ use = "m", x = { range = [0, 99999999] } }'), "at most 1,000,000"),
        (BLOCK.replace('"dense"', "{ rank = 1 }"), "has no `use`"),
        (BLOCK + f"seed = {2**70}\n", "too large"),
        (BLOCK + "seed = -1\n", "a seed is an integer in [0, 2^63), got -1"),
        (BLOCK + "seed = 1.5\n", "a seed is an integer"),
        (BLOCK + 'exclude = [{ method = "a" }]\n', "an exclusion looks like"),
        ("[run]\ntimeout = 'soon'\n" + BLOCK, "run.timeout must be a duration"),
        ("[run]\nretries = { killed = 'x' }\n" + BLOCK, "run.retries.killed must be a whole number"),
        (BLOCK + "[[claim]]\ntext = 'a'\n", "claim 1: no sql"),
        ("x = " + "[" * 900 + "]" * 900, "too deeply nested"),
        ("x = " + "1" * 5000, "too large"),
    ],
)
def test_a_fault_is_one_line_that_names_the_place(text, line):
    with pytest.raises(GridError) as fault:
        Grid.parse(text)
    assert line in str(fault.value) and "\n" not in str(fault.value)


def test_faults_of_the_file_itself(tmp_path: Path):
    cases = {
        tmp_path / "absent.toml": "no grid file",
        tmp_path: "is a folder",
        _written(tmp_path / "latin.toml", b"name = '\xe9'"): "is not UTF-8: byte 8 is 0xe9",
        _written(tmp_path / "large.toml", b"#" * 1_000_001): "a grid file may have 1,000,000",
    }
    for path, line in cases.items():
        with pytest.raises(GridError, match=line):
            Grid.load(path)


def test_a_byte_order_mark_is_accepted_and_the_file_names_the_grid(tmp_path: Path):
    path = _written(tmp_path / "my grid.toml", b"\xef\xbb\xbf" + BLOCK.encode())
    assert Grid.load(path).name == "my-grid"


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
