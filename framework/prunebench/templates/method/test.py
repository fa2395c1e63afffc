"""The kit judges the method; your own tests go below."""

from prunebench.testing import check_method
from prunebench_$name import $cls


def test_the_kit_finds_nothing():
    assert check_method($cls, speed=False) == []
