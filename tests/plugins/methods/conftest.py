"""Fixtures of the tests of bundled methods; the toys are in fake_task.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from fake_task import FakeTask, digits_task, small_fcn


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests share their cores with others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained() -> FakeTask:
    """A task whose network knows its digits."""
    task = digits_task(small_fcn())
    task.fit(task.network, epochs=15, lr=3e-3)
    return task
