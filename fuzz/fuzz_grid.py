"""Coverage-guided fuzzing of the grid reader: any bytes are a grid or one line.

`python fuzz/fuzz_grid.py -max_total_time=30` (libFuzzer's options); `pip install atheris` first.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_MESSAGE = 1000
WORDS = (
    '[[block]]\ndataset = "a"\nmodel = "b"\nmethod = ', "[protocol]\n", "[run]\n", "[[claim]]\n", "train = {",
    "finetune = {", "latency = {", "batch = [", "epochs = ", "range = [", "linspace = [", "logspace = [", "seed = ",
    "integers = true", "pipeline = [", "exclude = [{", "why = ", "use = ", "1e308", "nan", "inf", "1979-05-27",
    "9223372036854775808", '"""',
)  # fmt: skip


def one(data: bytes) -> None:
    """Read `data` as a grid; raises whatever is neither a grid nor a `GridError` of one line."""
    from prunebench.errors import GridError
    from prunebench.grid.file import text_of
    from prunebench.grid.grid import Grid

    with tempfile.NamedTemporaryFile(suffix=".toml", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        file.write(data)
        file.flush()
        try:
            grid = Grid.parse(text_of(Path(file.name)), source="grid")
        except GridError as error:
            assert len(str(error)) < LONGEST_MESSAGE and str(error), str(error)
            return
    assert grid.count >= 1 and grid.protocol.id
    for block in grid.blocks:
        assert next(iter(next(iter(block.methods)).drafts())).use


def main() -> None:
    """Under libFuzzer, beginning with the grids that come with prunebench."""
    import atheris

    with atheris.instrument_imports(include=["prunebench", "tomllib"]):
        import prunebench.grid.grid  # noqa: F401
    with tempfile.TemporaryDirectory() as name:
        dictionary = Path(name) / "words"
        lines = ["".join(f"\\x{byte:02x}" for byte in word.encode()) for word in WORDS]
        dictionary.write_text("".join(f'"{line}"\n' for line in lines))
        found = Path(name) / "corpus"
        found.mkdir()
        options = [f"-dict={dictionary}", "-timeout=20", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(found), str(ROOT / "grids")], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
