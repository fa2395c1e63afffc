"""Titles and kinds of columns that several charts have; the kinds are those of `assets/data.js`."""

from __future__ import annotations

WHICH = {
    "panel": ("data set · model", "text"),
    "part": ("part", "text"),
    "method": ("method", "text"),
    "setting": ("method and setting", "text"),
    "label": ("short name", "text"),
    "control": ("control", "bool"),
    "seed_count": ("seeds", "integer"),
    "point_count": ("settings in this row", "integer"),
}
ACCURACY = {
    "accuracy": ("score, mean", "share"),
    "accuracy_low": ("mean − std", "share"),
    "accuracy_high": ("mean + std", "share"),
    "dense_accuracy": ("score of the dense network", "share"),
    "is_front": ("best of its method", "bool"),
    "is_best": ("best of all", "bool"),
    "score_title": ("score of", "text"),
    "score_unit": ("unit of the score", "text"),
    "larger_is_better": ("larger is better", "bool"),
    "score_compared": ("compared as a", "text"),
    "is_at_floor": ("no better than without a network", "bool"),
    "score_floor": ("without a network", "share"),
    "score_floor_name": ("that is", "text"),
    "weaker_floor": ("another without a network", "share"),
    "weaker_floor_name": ("that is", "text"),
}
SPEEDUP = {
    "speedup": ("measured speedup", "ratio"),
    "speedup_low": ("interval from", "ratio"),
    "speedup_high": ("interval to", "ratio"),
}
