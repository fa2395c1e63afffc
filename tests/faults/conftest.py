"""`bench` in this process, and a place of its own for every test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from numbered import Bench, Refuses, Said
from prunebench.cli import _status

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests" / "framework" / "executors"), str(ROOT / "benchmarks")]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """`bench("plan", "--grid", …)` in a folder of its own; whatever happens, nobody sees a traceback."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = _status(list(words))
        said = Said(code, *capsys.readouterr())
        assert "Traceback" not in said.out + said.err
        return said

    return call


@pytest.fixture
def refuses(bench: Bench, tmp_path: Path) -> Refuses:
    """`refuses(text, part)`: a plan of this grid ends with exit code 2 and one line that holds `part`."""

    def check(grid: str | bytes, part: str) -> None:
        data = grid.encode() if isinstance(grid, str) else grid
        (tmp_path / "grid.toml").write_bytes(data)
        said = bench("plan", "--grid", "grid.toml")
        assert said.code == 2, said
        assert said.out == ""
        assert said.err.count("\n") == 1 and said.err.startswith("bench: "), said.err
        assert part in said.err, said.err
        assert len(said.err) < 500

    return check
