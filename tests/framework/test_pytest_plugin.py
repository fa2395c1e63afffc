"""The kit as fixtures."""

from __future__ import annotations

import pytest
from toys import Keep, Tiny


def test_a_sound_plugin_passes(check_model):
    check_model(Tiny)


def test_findings_fail_the_test_with_a_line_each(check_method):
    class Silent(Keep):
        name = "silent"

    with pytest.raises(pytest.fail.Exception, match="documentation: the class has no docstring"):
        check_method(Silent, speed=False)
