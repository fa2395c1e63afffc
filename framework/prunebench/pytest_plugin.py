"""The kit as pytest fixtures: `def test_it(check_method): check_method(MyMethod)` needs no import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def _asserting(name: str) -> Callable[..., None]:
    def check(cls: type[Any], *args: Any, **options: Any) -> None:
        """Fail with one line a finding."""
        from prunebench import testing

        findings = getattr(testing, name)(cls, *args, **options)
        if findings:
            pytest.fail("\n".join(str(finding) for finding in findings), pytrace=False)

    return check


@pytest.fixture(scope="session")
def check_method() -> Callable[..., None]:
    """`check_method(cls, settings=None, speed=True)`; see `prunebench.testing`."""
    return _asserting("check_method")


@pytest.fixture(scope="session")
def check_model() -> Callable[..., None]:
    """`check_model(cls, settings=None)`."""
    return _asserting("check_model")


@pytest.fixture(scope="session")
def check_dataset() -> Callable[..., None]:
    """`check_dataset(cls, settings=None, folder=None)`."""
    return _asserting("check_dataset")


@pytest.fixture(scope="session")
def check_paper() -> Callable[..., None]:
    """`check_paper(cls)`."""
    return _asserting("check_paper")


@pytest.fixture(scope="session")
def check_metric() -> Callable[..., None]:
    """`check_metric(cls, settings=None)`."""
    return _asserting("check_metric")


@pytest.fixture(scope="session")
def check_chart() -> Callable[..., None]:
    """`check_chart(cls)`."""
    return _asserting("check_chart")
