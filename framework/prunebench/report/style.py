"""How charts look: colours that colour-blind eyes tell apart, shapes that greyscale does, light, dark and print.

A method keeps its colour and shape in every chart of a page: both follow from its place in the list of methods.
Palette and shapes have coprime lengths, so that fifty-six methods differ in at least one of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
BAR = "M-1,-0.3H1V0.3H-1Z"
CROSS = "M-0.9,-0.6L-0.6,-0.9L0,-0.3L0.6,-0.9L0.9,-0.6L0.3,0L0.9,0.6L0.6,0.9L0,0.3L-0.6,0.9L-0.9,0.6L-0.3,0Z"
OUTLINES = {
    "circle": "M-0.85,0A0.85,0.85,0,1,1,0.85,0A0.85,0.85,0,1,1,-0.85,0Z",
    "square": "M-0.75,-0.75H0.75V0.75H-0.75Z",
    "triangle-up": "M-0.9,0.75L0,-0.85L0.9,0.75Z",
    "diamond": "M0,-1L1,0L0,1L-1,0Z",
    "triangle-down": "M-0.9,-0.75L0,0.85L0.9,-0.75Z",
    "cross": "M-0.9,-0.3H-0.3V-0.9H0.3V-0.3H0.9V0.3H0.3V0.9H-0.3V0.3H-0.9Z",
    "triangle-right": "M-0.75,-0.9L0.85,0L-0.75,0.9Z",
}
LIGHT = ("#0068b0", "#d45500", "#00835f", "#b8438f", "#c08a00", "#2d9fd8", "#6d4fb3", "#8a5a2b")
DARK = ("#5aaef0", "#ff935c", "#3fcfa2", "#ee9fce", "#f5c451", "#9bd8ff", "#b9a2f2", "#cfa679")
PALETTES = {"light": LIGHT, "dark": DARK}
DENSE_COLOURS = {"light": "#111418", "dark": "#f4f6f8"}
CONTROL_COLOURS = {"light": "#767b83", "dark": "#9aa2ad"}
RAMPS = {
    "light": {"cool": ("#eaf2fa", "#8dbde3", "#0b4f8a"), "warm": ("#fdf1e6", "#f5a96b", "#9a3400")},
    "dark": {"cool": ("#1d2935", "#2f6ea3", "#a9d5fb"), "warm": ("#2e241c", "#a9541d", "#ffc79a")},
}
INKS = {
    "light": {"ink": "#1b1f24", "soft": "#5b636d", "line": "#d9dde2", "faint": "#eef0f2", "paper": "#ffffff"},
    "dark": {"ink": "#e8ebee", "soft": "#a3abb5", "line": "#3a4048", "faint": "#262b31", "paper": "#16191d"},
}


@dataclass(frozen=True)
class Series:
    """A method as charts draw it; `place` numbers the methods that are no controls."""

    name: str
    control: bool
    place: int

    def colour(self, theme: str) -> str:
        """Its colour in the `light` or `dark` theme: dense in ink, other controls grey."""
        if self.name == "dense":
            return DENSE_COLOURS[theme]
        return CONTROL_COLOURS[theme] if self.control else PALETTES[theme][self.place % len(LIGHT)]

    @property
    def shape(self) -> str:
        """Its mark: dense is a bar and other controls are crosses that no method has."""
        if self.name == "dense":
            return BAR
        return CROSS if self.control else SHAPES[self.place % len(SHAPES)]

    @property
    def path(self) -> str:
        """The outline of its mark in a box from -1 to 1, for a legend outside a chart."""
        return OUTLINES.get(self.shape, self.shape)


def series_of(methods: Iterable[tuple[str, bool]]) -> list[Series]:
    """Every method with its look: dense first, other controls last, the rest by name; input is (name, is control)."""
    named = dict(methods)
    plain = sorted(name for name, control in named.items() if not control and name != "dense")
    controls = sorted(name for name, control in named.items() if control and name != "dense")
    dense = [Series("dense", True, 0)] if "dense" in named else []
    shown = [Series(name, False, place) for place, name in enumerate(plain)]
    return dense + shown + [Series(name, True, place) for place, name in enumerate(controls)]


def config(theme: str, series: Sequence[Series] = (), font_size: int = 12) -> dict[str, Any]:
    """The Vega-Lite config of a theme; the ranges give each method of a scale's domain its look, in order."""
    ink = INKS[theme]
    return {
        "background": None if theme == "dark" else ink["paper"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": _axis(ink, font_size),
        "axisY": {"labelLimit": 340},
        "legend": _legend(ink, font_size),
        "title": _title(ink, font_size),
        "text": {"color": ink["soft"], "font": FONT, "fontSize": font_size - 1},
        "rule": {"color": ink["soft"]},
        "range": {
            "category": [one.colour(theme) for one in series] or list(PALETTES[theme]),
            "heatmap": list(RAMPS[theme]["cool"]),
            "ramp": list(RAMPS[theme]["warm"]),
            "symbol": [one.shape for one in series] or list(SHAPES),
        },
    }


def _axis(ink: dict[str, str], font_size: int) -> dict[str, Any]:
    return {
        "labelColor": ink["soft"], "titleColor": ink["ink"], "gridColor": ink["faint"], "domainColor": ink["line"],
        "tickColor": ink["line"], "titleFontWeight": 500, "titleFontSize": font_size, "labelFontSize": font_size - 1,
        "labelFont": FONT, "titleFont": FONT, "titlePadding": 8, "labelPadding": 5, "tickSize": 4, "gridWidth": 1,
    }  # fmt: skip


def _legend(ink: dict[str, str], font_size: int) -> dict[str, Any]:
    return {
        "labelColor": ink["ink"], "titleColor": ink["soft"], "labelFontSize": font_size - 1, "labelFont": FONT,
        "titleFont": FONT, "titleFontWeight": 500, "titleFontSize": font_size - 1, "symbolSize": 70, "symbolOpacity": 1,
    }  # fmt: skip


def _title(ink: dict[str, str], font_size: int) -> dict[str, Any]:
    return {
        "color": ink["ink"], "subtitleColor": ink["soft"], "font": FONT, "subtitleFont": FONT,
        "fontSize": font_size + 1, "fontWeight": 600, "anchor": "start", "offset": 10,
    }  # fmt: skip
