"""The kit as pytest fixtures: `def test_it(check_method): check_method(MyMethod)` needs no import.

There is one fixture per kind of plugin: `check_method(cls, settings=None, speed=True)`, `check_model(cls,
settings=None)` and so on; each takes what the function of that name in `prunebench.testing` takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prunebench.plugins.kinds import KINDS


def _asserting(name: str) -> Callable[..., None]:
    def check(cls: type[Any], *args: Any, **options: Any) -> None:
        """Fail with one line a finding."""
        from prunebench import testing

        findings = getattr(testing, name)(cls, *args, **options)
        if findings:
            pytest.fail("\n".join(str(finding) for finding in findings), pytrace=False)

    return check


def _fixture(name: str) -> Any:
    def fixture() -> Callable[..., None]:
        return _asserting(name)

    fixture.__doc__ = f"`{name}(cls, …)` of `prunebench.testing`; fails with a line per finding."
    return pytest.fixture(scope="session", name=name)(fixture)


globals().update({kind.kit: _fixture(kind.kit) for kind in KINDS.values()})
