"""Faults 1 to 20: the grid file."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest
from numbered import Bench, Refuses, fault
from prunebench.errors import GridError
from prunebench.grid.grid import Grid

BLOCK = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\n'
MAGNITUDE = BLOCK + 'method = { use = "magnitude", keep = KEEP }\n'


def with_keep(value: str) -> str:
    return MAGNITUDE.replace("KEEP", value)


@fault(1, "a grid file that is not there", "one line that names it, exit code 2")
def test_a_missing_grid_is_named(bench: Bench) -> None:
    said = bench("plan", "--grid", "nowhere.toml")
    assert (said.code, said.err) == (2, "bench: no grid file at nowhere.toml\n")


@fault(2, "a folder, or a file that may not be read", "one line with the reason, exit code 2")
def test_a_folder_or_a_locked_file_is_no_grid(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.toml").mkdir()
    assert bench("plan", "--grid", "folder.toml").err == "bench: folder.toml is a folder, not a grid file\n"
    (tmp_path / "locked.toml").write_text(BLOCK)

    really = Path.open

    def refuse(path: Path, *how: str, **more: str) -> object:
        if path.name == "locked.toml":
            raise PermissionError(13, "Permission denied")
        return really(path, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so chmod would show nothing
    assert bench("plan", "--grid", "locked.toml").err == "bench: locked.toml cannot be read: Permission denied\n"


@fault(2, "a device, a FIFO or a link to one", "one line: no regular file")
def test_what_never_ends_is_no_grid(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo.toml")
    for name in ("/dev/zero", "zero.toml", "fifo.toml"):
        said = bench("plan", "--grid", name)
        assert (said.code, said.err) == (2, f"bench: {name} is not a regular file, so it cannot be a grid file\n")


@fault(3, "a TOML syntax error", "`file:line:column` and the reason")
def test_a_syntax_error_has_its_place(refuses: Refuses) -> None:
    refuses(BLOCK + "method = [\n", "grid.toml:")
    refuses("name = 'a'\nblock = ]\n", "grid.toml:2:9: invalid value")


@fault(4, "a byte order mark", "it is accepted")
def test_a_byte_order_mark_is_accepted(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_bytes(b"\xef\xbb\xbf" + with_keep("0.5").encode())
    assert bench("plan", "--grid", "grid.toml").code == 0


@fault(5, "a grid that is not UTF-8", "the byte and its place")
def test_a_file_that_is_not_utf8_names_the_byte(refuses: Refuses) -> None:
    refuses(b"name = '\xe9'\n", "is not UTF-8: byte 8 is 0xe9")


@fault(6, "an empty grid file, or one of comments", "it is empty and needs a block")
def test_an_empty_file_says_what_a_grid_needs(refuses: Refuses) -> None:
    refuses("", "the file is empty: a grid needs at least one [[block]]")
    refuses("# nothing\n", "the file is empty")
    refuses("name = 'a'\n", "no [[block]]: 0 trials")


@fault(7, "a key given twice", "its line")
def test_a_key_given_twice_has_its_line(refuses: Refuses) -> None:
    refuses("name = 'a'\nname = 'b'\n", "grid.toml:2:")


@fault(8, "900 nested arrays", "too deeply nested, no traceback")
def test_deep_nesting_is_refused(refuses: Refuses) -> None:
    refuses("x = " + "[" * 900 + "]" * 900, "too deeply nested")
    refuses("x = " + "{a=" * 900 + "1" + "}" * 900, "too deeply nested")


@fault(9, "a file of 50 MB", "refused before it is read")
def test_a_file_of_fifty_megabytes_is_not_even_read(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large.toml").open("wb") as file:
        os.truncate(file.fileno(), 50_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    said = bench("plan", "--grid", "large.toml")
    assert said.code == 2
    assert "large.toml has 50,000,000 bytes; a grid file may have 1,000,000" in said.err


@fault(10, "a whole number of 5,000 digits, or of 65 bits", "the number is too large; the key where TOML can tell it")
def test_a_number_beyond_64_bits_is_refused(refuses: Refuses) -> None:
    refuses(with_keep("1" * 5000), "a number is too large")
    refuses(with_keep(str(2**63)), "method magnitude, keep: the number is too large: it has to fit in 64 bits")
    refuses("[protocol]\ntrain = { epochs = 1" + "0" * 30 + " }\n" + with_keep("1"), "protocol.train.epochs")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
@fault(11, "nan, inf or 1e400 as a share", "it must be finite")
def test_what_is_not_finite_is_refused(refuses: Refuses, value: str) -> None:
    refuses(with_keep(value), "keep: must be finite, got")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("-0.1", "magnitude: keep must be above 0, got -0.1"),
        ("1.0001", "magnitude: keep must be at most 1, got 1.0001"),
        ('"0.5"', "magnitude: keep must be a finite number, got '0.5'"),
        ("true", "magnitude: keep must be a finite number, got True"),
    ],
)
@fault(12, 'a share of -0.1, 1.0001, "0.5" or true', "the range or the type, and the value got")
def test_a_value_out_of_range_or_of_another_type_is_refused(refuses: Refuses, value: str, part: str) -> None:
    refuses(with_keep(value), part)


@fault(13, "a grid of 10⁹ cells", "its count, refused in under a second in flat memory")
def test_a_grid_of_a_billion_cells_is_counted_and_refused(refuses: Refuses) -> None:
    axis = "{ range = [0, 1000] }"
    text = BLOCK + f'seed = {axis}\nmethod = {{ use = "m", x = {axis}, y = {axis} }}\n'
    tracemalloc.start()
    start = time.process_time()
    grid = Grid.parse(text)
    assert grid.count == 10**9
    assert time.process_time() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    refuses(text, "the grid has 1,000,000,000 cells, more than 100,000: make an axis shorter or raise --limit")


@fault(13, "an axis of 10⁸ values", "its length, refused at once")
def test_an_axis_of_a_hundred_million_values_is_refused(refuses: Refuses) -> None:
    refuses(with_keep("{ range = [0, 100000000] }"), "an axis of 100,000,000 values; at most 1,000,000")
    refuses(with_keep("{ range = [0, 1e308, 1e-308] }"), "range reaches numbers that are too large")


@fault(14, "an empty axis", "`axis … is empty: 0 trials`")
def test_an_empty_axis_is_refused(refuses: Refuses) -> None:
    refuses(with_keep("[]"), "keep: the axis is empty: 0 trials")
    refuses(BLOCK + "method = []\n", "axis method is empty: 0 trials")
    refuses(with_keep("0.5") + "seed = { range = [3, 3] }\n", "seed: the axis is empty: 0 trials")


@fault(15, "a value given twice", "one trial and a warning")
def test_a_value_given_twice_is_one_trial_and_a_warning(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(with_keep("[0.5, 0.25, 0.5]"))
    said = bench("plan", "--grid", "grid.toml", "--json")
    assert said.code == 0
    assert '"trials": 9' in said.out  # the dense one beside them, three seeds
    assert "keep: 1 duplicate value(s) left out" in said.out + said.err
    assert Grid.parse(with_keep("[1, 2, 1]")).blocks[0].methods[0].axes["keep"] == (1, 2)


@fault(15, "a batch size given twice", "timed once, and a warning")
def test_a_batch_size_given_twice_is_timed_once(bench: Bench, tmp_path: Path) -> None:
    text = "[protocol]\nlatency = { batch = [1, 64, 1, 1] }\n" + with_keep("0.5")
    (tmp_path / "grid.toml").write_text(text)
    assert Grid.parse(text).protocol.latency.batch == (1, 64)
    assert bench("plan", "--grid", "grid.toml").err == "bench: protocol.latency.batch: 2 duplicate value(s) left out\n"


@fault(16, "an unknown key", "did you mean …?")
def test_an_unknown_key_has_a_suggestion(refuses: Refuses) -> None:
    refuses("[[blok]]\n", "unknown key 'blok', did you mean 'block'?")
    refuses(with_keep("0.5").replace("keep", "kep"), "magnitude has no field 'kep', did you mean 'keep'?")
    refuses(with_keep("0.5").replace("keep", "zzz"), "magnitude has no field 'zzz'; its fields: ")


@fault(17, "a plugin that is not installed", "did you mean …?, or the installed ones")
def test_an_unknown_plugin_has_a_suggestion_or_the_list(bench: Bench, tmp_path: Path) -> None:
    for name, part in (("magnitud", "did you mean 'magnitude'?"), ("qqqqq", "; installed: ")):
        (tmp_path / "grid.toml").write_text(BLOCK + f'method = "{name}"\n')
        said = bench("plan", "--grid", "grid.toml")
        assert said.code == 2
        assert f"no method '{name}' is installed" in said.err and part in said.err


@pytest.mark.parametrize("value", ["2026-01-01", "12:30:00", "2026-01-01T00:00:00Z"])
@fault(18, "a date where a number is expected", "the types that are expected")
def test_a_date_is_no_number(refuses: Refuses, value: str) -> None:
    refuses(with_keep(value), "keep: expected a number, a text or true/false, got datetime")


@fault(18, "a timeout that no clock can wait for", "the longest that is allowed")
def test_a_timeout_beyond_the_clocks_is_refused(refuses: Refuses) -> None:
    for text in ("99999999999999d", "1e400", "10001d"):
        refuses(f"[run]\ntimeout = '{text}'\n" + with_keep("0.5"), "run.timeout must be")


@fault(19, "a text of a megabyte as a value", "its length and the limit")
def test_a_long_text_is_refused_by_its_length(refuses: Refuses) -> None:
    refuses(with_keep(f'"{"x" * 900_000}"'), "keep: a text of 900,000 characters; at most 10,000 are allowed")


@pytest.mark.parametrize("seed", [str(2**70), "-1", "1.5", "true", '"7"'])
@fault(20, "a seed of 2⁷⁰, -1, 1.5 or true", "its range")
def test_a_seed_out_of_range_is_refused(refuses: Refuses, seed: str) -> None:
    part = "fit in 64 bits" if len(seed) > 10 else "a seed is an integer in [0, 2^63)"
    refuses(with_keep("0.5") + f"seed = {seed}\n", part)


@pytest.mark.parametrize("line", ["claim = 3", "block = 3", "run = 3", "protocol = []", "block = [1]", "claim = ['a']"])
@fault(18, "a table where a list is expected, or the reverse", "what is expected")
def test_a_part_of_another_shape_is_one_line(line: str) -> None:
    with pytest.raises(GridError):
        Grid.parse(f"{line}\n" + ("" if line.startswith("block") else with_keep("0.5")))
