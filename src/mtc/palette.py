"""The colours of every figure and page: distinguished by every kind of colour vision, on light and dark.

Okabe and Ito's palette. Figures are drawn in the light shades; a page that is read on a dark ground
replaces each by its dark shade.
"""

from dataclasses import dataclass

__all__ = ["COLOURS", "SERIES", "Colour"]


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour by name, as ``#rrggbb`` in lower case, on a light and on a dark ground."""

    name: str
    light: str
    dark: str


BLUE = Colour("blue", "#0072b2", "#4aa8e0")
ORANGE = Colour("orange", "#e69f00", "#f0b43c")
GREEN = Colour("green", "#009e73", "#2fc79b")
VERMILLION = Colour("vermillion", "#d55e00", "#f2854a")
PURPLE = Colour("purple", "#cc79a7", "#e3a0c4")
SKY = Colour("sky", "#56b4e9", "#8acdf5")
BROWN = Colour("brown", "#8c6d31", "#c9a765")
GREY = Colour("grey", "#7a7a7a", "#a8a8a8")

INK = Colour("ink", "#1d2125", "#e8eaed")
"""Text and axes."""
FRAME = Colour("frame", "#555555", "#b4b8bd")
"""Outlines, and text that stands back."""
GRID = Colour("grid", "#d9dce0", "#3a3f46")
GROUND = Colour("ground", "#ffffff", "#15181c")
"""Background of figures and pages."""

SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, BROWN, GREY)
"""Colours of series, in the order in which they are given out."""

COLOURS = (*SERIES, INK, FRAME, GRID, GROUND)
