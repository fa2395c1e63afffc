"""The objectives that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Objective, hookimpl

from prunebench_objectives.classification import Classification
from prunebench_objectives.detection import Detection
from prunebench_objectives.language_modelling import LanguageModelling
from prunebench_objectives.regression import Regression


@hookimpl
def objectives() -> list[type[Objective]]:
    """Classes, next tokens, numbers, objects in images."""
    return [Classification, LanguageModelling, Regression, Detection]
