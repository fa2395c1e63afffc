from __future__ import annotations

from pathlib import Path

import pytest
from prunebench.engine.executors import logs
from prunebench.engine.executors.logs import SlotLog, foreign_bytes


def test_a_trial_keeps_its_first_part_and_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TRIAL_BYTES", 100)
    log = SlotLog(tmp_path / "cpu-0.log")
    log.begin()
    for number in range(50):
        log.write(f"line {number}\n".encode())
    text = (tmp_path / "cpu-0.log").read_text()
    assert text.startswith("line 0\nline 1\n")
    assert text.count("is dropped") == 1
    assert len(text) < 200
    assert log.tail.endswith("line 49")


def test_the_file_is_bounded_over_many_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    log = SlotLog(tmp_path / "cpu-0.log")
    for _ in range(100):
        log.begin()
        log.write(b"x" * 100)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2300
    assert {file.name for file in tmp_path.iterdir()} == {"cpu-0.log", "cpu-0.log.1"}


def test_a_full_disk_loses_log_lines_and_nothing_else(tmp_path: Path) -> None:
    log = SlotLog(Path("/dev/full"))
    log.begin()
    log.write(b"last words")
    assert log.tail == "last words"


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    log = SlotLog(None)
    log.write(b"\xff\xfe noise")
    assert log.tail.endswith("noise")


def test_a_folder_that_cannot_be_made_costs_the_log_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = SlotLog(tmp_path / "file" / "logs" / "cpu-0.log")
    log.write(b"last words")
    assert log.tail == "last words"


def test_the_line_before_a_trial_is_nothing_that_others_printed(tmp_path: Path) -> None:
    log = SlotLog(tmp_path / "cpu-0.log")
    log.write(b"--- 0123 attempt 1: dense\n--- 4567 attempt 1: low_rank(rank=2)\n")
    assert foreign_bytes(tmp_path) == 0
    log.write(b"a warning\n--- 89ab attempt 1: dense\n")
    assert foreign_bytes(tmp_path) == len(b"a warning\n")
    assert foreign_bytes(tmp_path / "nowhere") == 0
