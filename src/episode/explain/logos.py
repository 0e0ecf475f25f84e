"""Sequence logos: bases as outlines of letters, stacked to given heights.

This module does NOT know models or motifs.
"""

from __future__ import annotations

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from episode.dna import DNA_ALPHABET

__all__ = ["LETTER_COLOURS", "draw_logo", "information"]

LETTER_COLOURS = {"A": "#009e73", "C": "#0072b2", "G": "#b8860b", "T": "#d55e00"}
"""As logos are coloured by custom, in shades that colour-blind readers can distinguish."""
GAP = 0.06
"""Fraction of the width of a position left free."""


@functools.cache
def _outline(letter: str) -> Path:
    """Outline of a letter, stretched to fill the unit square."""
    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    return path.transformed(Affine2D().translate(-box.x0, -box.y0).scale(1 / box.width, 1 / box.height))


def draw_logo(axes: Axes, heights: np.ndarray, *, start: float = 0.0) -> None:
    """Draw a logo, hanging letters faintly; sets the limits of the axes.

    Parameters
    ----------
    axes : Axes
    heights : ndarray, shape (n, 4)
        Of A, C, G, T at each position; positive ones are stacked upwards, the tallest on top, negative ones hang.
    start : float
        Left edge of the first position.
    """
    up = down = 0.0
    for place, row in enumerate(np.nan_to_num(heights)):
        tops = {1: 0.0, -1: 0.0}
        for code in np.argsort(np.abs(row), kind="stable"):
            height = float(row[code])
            if height == 0.0:
                continue
            side = 1 if height > 0 else -1
            bottom = min(tops[side], tops[side] + height)
            move = Affine2D().scale(1 - GAP, abs(height)).translate(start + place + GAP / 2, bottom)
            letter, alpha = DNA_ALPHABET[code], 0.55 if side < 0 else 1.0
            axes.add_patch(PathPatch(_outline(letter).transformed(move), fc=LETTER_COLOURS[letter], lw=0, alpha=alpha))
            tops[side] += height
        up, down = max(up, tops[1]), min(down, tops[-1])
    room = 0.05 * (up - down or 1.0)
    axes.set_xlim(start, start + len(heights))
    axes.set_ylim(down - room if down else 0.0, up + room)


def information(probabilities: np.ndarray) -> np.ndarray:
    """Heights of the usual logo of a motif in bits, (n, 4), from fractions (n, 4), against a uniform background."""
    fractions = np.asarray(probabilities, dtype=np.float64)
    bits = 2 + (fractions * np.log2(np.where(fractions > 0, fractions, 1.0))).sum(axis=1, keepdims=True)
    heights: np.ndarray = fractions * bits
    return heights
