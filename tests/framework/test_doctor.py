"""bench doctor: every look is green here, and red where what it looks at is broken: a fix, no traceback."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest
import store_samples as samples
from prunebench.cli import main
from prunebench.doctor import Check, examine, machine, software, storage
from prunebench.errors import PruneBenchError
from prunebench.report import export
from prunebench.store import Store

LOOKS = {"python", "packages", "torch", "devices", "folder", "disk", "locks", "database", "plugins", "load", "charts"}


def only(checks) -> Check:
    (check,) = checks
    return check


def seen_by(db: Path) -> dict[str, Check]:
    return {check.name: check for check in examine(db, noise=False)}


@pytest.fixture
def quick(monkeypatch):
    """Without the renderer and the plugins, which take their seconds."""
    monkeypatch.setattr(software, "charts", lambda: iter([Check("charts", "ok", "not looked at")]))
    monkeypatch.setattr(software, "plugins", lambda: iter([Check("plugins", "ok", "not looked at")]))


def test_every_look_is_made_and_a_sound_place_is_green(tmp_path):
    with Store(tmp_path / "r.duckdb").open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    Store(tmp_path / "r.duckdb").merge()
    found = seen_by(tmp_path / "r.duckdb")
    assert set(found) == LOOKS
    assert {check.name for check in found.values() if check.state == "fault"} == set()
    assert found["database"].seen.endswith("is sound") and "PDF" in found["charts"].seen
    assert sorted(path.name for path in tmp_path.glob(".bench-doctor-*")) == []


def test_the_noise_floor_is_that_of_a_network_against_its_own_copy():
    check = only(machine.noise())
    assert check.state in ("ok", "warning") and "against its own copy" in check.seen


def test_a_damaged_database_asks_for_a_rebuild_and_another_file_does_not(tmp_path, quick):
    path = tmp_path / "r.duckdb"
    with Store(path).open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    Store(path).merge()
    data = bytearray(path.read_bytes())
    data[12300:12320] = b"x" * 20
    path.chmod(0o644)
    path.write_bytes(data)
    damaged = seen_by(path)["database"]
    assert (damaged.state, damaged.mend) == ("fault", "bench db rebuild")
    (tmp_path / "text.duckdb").write_text("hello")
    text = seen_by(tmp_path / "text.duckdb")["database"]
    assert (text.state, text.mend) == ("fault", storage.ELSEWHERE)
    assert (tmp_path / "text.duckdb").read_text() == "hello"


@pytest.mark.parametrize("place", ["file/results.duckdb", "/proc/x/results.duckdb"])
def test_a_place_where_no_file_can_be_made_is_red(tmp_path, quick, place):
    (tmp_path / "file").touch()
    found = seen_by(tmp_path / place)
    assert (found["folder"].state, found["folder"].mend) == ("fault", storage.ELSEWHERE)
    assert found["locks"].state == "warning"


def test_a_full_disk_is_red(tmp_path, quick, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    check = only(storage.folder(tmp_path))
    assert check.state == "fault" and "No space left on device" in check.seen
    assert list(tmp_path.iterdir()) == []


def test_locks_that_are_not_there_or_do_not_exclude_are_red(tmp_path, monkeypatch):
    def refused(_file, _operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    for answer, seen in ((refused, "has no flock: No locks available"), (lambda *_: None, "does not exclude")):
        monkeypatch.setattr(fcntl, "flock", answer)
        check = only(storage.locks(tmp_path))
        assert check.state == "fault" and seen in check.seen and "local disk" in check.mend


def test_a_renderer_that_gives_up_is_a_warning(monkeypatch):
    def gives_up(*_):
        raise PruneBenchError("the renderer ended with -6")

    monkeypatch.setattr(export, "picture", gives_up)
    check = only(software.charts())
    assert check.state == "warning" and "-6" in check.seen and "vl-convert" in check.mend


def test_whatever_a_look_raises_is_a_line_without_control_characters(tmp_path, quick, monkeypatch, capsys):
    def broken():
        raise AttributeError("no \x1b[31m lock")

    monkeypatch.setattr(machine, "torch_works", broken)
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--no-noise", "--db", str(tmp_path / "r.duckdb")])
    out = capsys.readouterr().out
    assert end.value.code == 1 and "FAULT   torch: AttributeError: no \\x1b[31m lock -> pip install" in out
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--no-noise", "--json", "--db", str(tmp_path / "r.duckdb")])
    checks = json.loads(capsys.readouterr().out)
    assert end.value.code == 1 and {check["name"] for check in checks} == LOOKS
