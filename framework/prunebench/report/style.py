"""How charts look: colours that colour-blind eyes tell apart, shapes that greyscale does, light, dark and print.

A method keeps its colour and shape in every chart of a page: both follow from its place in the list of methods.
The first twenty-five methods differ in shape alone, as greyscale print needs it; palette and shapes have coprime
lengths, so that two hundred differ in at least one of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_NAME = 600  # pixels of a row's name in a chart that stands alone
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
BAR = "M-1,-0.3H1V0.3H-1Z"
CROSS = "M-0.9,-0.6L-0.6,-0.9L0,-0.3L0.6,-0.9L0.9,-0.6L0.3,0L0.9,0.6L0.6,0.9L0,0.3L-0.6,0.9L-0.9,0.6L-0.3,0Z"
SOLID = {  # outlines in a box from -1 to 1
    "circle": "M-0.85,0A0.85,0.85,0,1,1,0.85,0A0.85,0.85,0,1,1,-0.85,0Z",
    "square": "M-0.85,-0.85H0.85V0.85H-0.85Z",
    "triangle up": "M-0.9,0.75L0,-0.85L0.9,0.75Z",
    "diamond": "M0,-1L0.8,0L0,1L-0.8,0Z",
    "triangle down": "M-0.9,-0.75L0,0.85L0.9,-0.75Z",
    "plus": "M-0.9,-0.3H-0.3V-0.9H0.3V-0.3H0.9V0.3H0.3V0.9H-0.3V0.3H-0.9Z",
    "triangle right": "M-0.75,-0.9L0.85,0L-0.75,0.9Z",
    "star": "M0,-1L0.26,-0.32L0.95,-0.31L0.4,0.12L0.59,0.81L0,0.42L-0.59,0.81L-0.4,0.12L-0.95,-0.31L-0.26,-0.32Z",
    "triangle left": "M0.75,-0.9L-0.85,0L0.75,0.9Z",
    "hourglass": "M-0.9,-0.9H0.9L0.15,0L0.9,0.9H-0.9L-0.15,0Z",
    "bow tie": "M-0.9,-0.9L0,-0.15L0.9,-0.9V0.9L0,0.15L-0.9,0.9Z",
    "dome": "M-1,0.6A1,1.1,0,0,1,1,0.6Z",
    "pillar": "M-0.38,-1H0.38V1H-0.38Z",
    "tee": "M-0.9,-0.9H0.9V-0.3H0.3V0.9H-0.3V-0.3H-0.9Z",
    "corner": "M-0.8,-0.9H-0.15V0.25H0.9V0.9H-0.8Z",
    "chevron": "M-0.95,0.85L0,-0.95L0.95,0.85L0.5,0.85L0,-0.15L-0.5,0.85Z",
    "bowl": "M-1,-0.6A1,1.1,0,0,0,1,-0.6Z",
}
HOLLOW = {  # an outline, and inside it another that turns the other way, which leaves a hole
    "ring": f"{SOLID['circle']}M-0.45,0A0.45,0.45,0,1,0,0.45,0A0.45,0.45,0,1,0,-0.45,0Z",
    "frame": "M-0.9,-0.9H0.9V0.9H-0.9ZM-0.45,-0.45V0.45H0.45V-0.45Z",
    "hollow triangle up": "M-1,0.85L0,-0.95L1,0.85ZM-0.4,0.5H0.4L0,-0.25Z",
    "hollow diamond": "M0,-1L1,0L0,1L-1,0ZM0,-0.55L-0.55,0L0,0.55L0.55,0Z",
    "hollow triangle down": "M-1,-0.85L0,0.95L1,-0.85ZM-0.4,-0.5H0.4L0,0.25Z",
    "equals": "M-0.9,-0.75H0.9V-0.2H-0.9ZM-0.9,0.2H0.9V0.75H-0.9Z",
    "hollow triangle right": "M-0.85,-1L0.95,0L-0.85,1ZM-0.5,-0.4V0.4L0.25,0Z",
    "pair": "M-0.75,-0.9H-0.2V0.9H-0.75ZM0.2,-0.9H0.75V0.9H0.2Z",
}
SHAPES = (*SOLID.values(), *HOLLOW.values())
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
        return self.shape


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
        "axisY": {"labelLimit": LONGEST_NAME},
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
