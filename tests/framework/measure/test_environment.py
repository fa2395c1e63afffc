"""Provenance, and the state of the host during a measurement."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch
from prunebench.measure import environment
from prunebench.measure.latency import conditions
from prunebench.records import Provenance, decode, encode


def test_provenance_names_the_machine_the_libraries_and_the_inputs() -> None:
    found = environment.provenance(
        "cpu", 1, dense_hash="abc", dataset_fingerprint="def", plugins={"svd": "prunebench 0.1.0"}
    )
    assert found.torch == torch.__version__
    assert found.packages["numpy"]
    assert found.cpu and found.host and found.os
    assert found.core_count >= 1
    assert found.memory_bytes > 1 << 28
    assert (found.threads, found.dense_hash, found.dataset_fingerprint) == (1, "abc", "def")
    assert found.plugins == {"svd": "prunebench 0.1.0"}
    assert decode(encode(found), Provenance) == found


def test_outside_of_git_there_is_no_commit(tmp_path: Path) -> None:
    assert environment.git_commit(str(tmp_path)) == ""


def test_a_commit_says_when_files_differ_from_it(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ("git", "-C", str(tmp_path), *identity, *words), check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    head = git("rev-parse", "HEAD")
    assert environment.git_commit(str(tmp_path)) == head
    (tmp_path / "file").write_text("two")
    environment.git_commit.cache_clear()
    assert environment.git_commit(str(tmp_path)) == f"{head}+changes"


def test_what_is_recorded_of_the_host_is_what_passed_between_two_looks() -> None:
    before = conditions.host_state()
    found = conditions.between(before, conditions.host_state())
    assert found.keys() == {"load_average", "steal", "involuntary_switches", "page_faults"}
    assert 0 <= found["steal"] <= 1
    assert found["involuntary_switches"] >= 0
