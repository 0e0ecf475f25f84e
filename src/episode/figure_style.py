"""The look that all figures share, and their rendering as PNG and SVG.

Matplotlib's object interface only: no global state, no window. Figures are narrow, so that they stay legible
on a small screen. Knows nothing of what is drawn.
"""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

__all__ = [
    "COLOURS",
    "LINES",
    "WIDTH",
    "Drawing",
    "legend",
    "new_figure",
    "new_panels",
    "short",
    "style",
    "to_png",
    "to_svg",
]

COLOURS = {
    "ink": "#1b1f24",
    "muted": "#5b646f",
    "grid": "#dfe3e8",
    "paper": "#fefefe",
    "blue": "#0072b2",
    "red": "#d55e00",
    "green": "#009e73",
    "purple": "#aa4499",
}
"""Distinguished by colour-blind readers; each also gets a marker or dash of its own."""
LINES: tuple[tuple[str, Any], ...] = (
    ("blue", "-"),
    ("red", (0, (4, 1.5))),
    ("green", (0, (1, 1.2))),
    ("purple", (0, (5, 1.2, 1, 1.2))),
)
"""Colour and dash of the first, second, ... curve of a figure."""
WIDTH = 4.6
"""Inches."""
NAME_LENGTH = 24
END = 8
"""Letters of the end of a long name that are shown: names often differ there."""


@dataclass(frozen=True)
class Drawing:
    """A figure with what is said about it.

    Parameters
    ----------
    title, caption : str
        Plain text; the caption says how to read the figure.
    source : str
        File and key that the figure is drawn from.
    """

    name: str
    title: str
    caption: str
    source: str
    figure: Figure


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Return a figure of the common width and `height` inches with one styled pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=COLOURS["paper"])
    axes = figure.subplots()
    style(axes)
    return figure, axes


def new_panels(
    count: int, *, columns: int, height: float, share_y: bool = True, x: str = "", y: str = ""
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of small panels, `height` inches each, and the axes in reading order.

    All panels have one horizontal scale, with `share_y` one vertical scale too; `x` and `y` label the whole figure.
    """
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, 0.75 + height * lines), layout="constrained", facecolor=COLOURS["paper"])
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=share_y).ravel()
    for axes in grid[:count]:
        style(axes)
        axes.tick_params(labelsize=7.5)
    for index, axes in enumerate(grid[count:], start=count):
        axes.set_visible(False)
        grid[index - columns].tick_params(labelbottom=True)
    label = {"color": COLOURS["ink"], "fontsize": 9.5}
    figure.supxlabel(x, **label)
    figure.supylabel(y, **label)
    return figure, list(grid[:count])


def short(name: str) -> str:
    """Return a name of a user ready to be drawn.

    Of a long one the beginning and the end. A letter that the font lacks is written as its code. A dollar sign is
    one, and begins no formula.
    """
    letters = _letters()
    drawn = "".join(letter if ord(letter) in letters else f"[U+{ord(letter):04X}]" for letter in name)
    if len(drawn) > NAME_LENGTH:
        drawn = drawn[: NAME_LENGTH - END - 1] + "…" + drawn[-END:]
    return drawn.replace("$", r"\$")


@functools.cache
def _letters() -> frozenset[int]:
    """Return the letters of the font."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def style(axes: Axes) -> None:
    """Give axes the common look."""
    axes.set_facecolor(COLOURS["paper"])
    axes.grid(color=COLOURS["grid"], lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=COLOURS["ink"], labelsize=8.5, length=0)
    axes.xaxis.label.set(color=COLOURS["ink"], fontsize=9.5)
    axes.yaxis.label.set(color=COLOURS["ink"], fontsize=9.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(COLOURS["muted"])


def legend(figure: Figure, *, columns: int) -> None:
    """Put the legend above the axes of a figure, where it hides nothing."""
    figure.legend(
        loc="outside upper left",
        ncols=columns,
        fontsize=8.5,
        labelcolor=COLOURS["ink"],
        frameon=False,
        borderpad=0.1,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.35,
    )


def to_png(figure: Figure) -> bytes:
    """Render at 200 dots an inch."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=200, facecolor=COLOURS["paper"], metadata={"Software": None})
    figure.set_layout_engine("none")  # arranged once: renderings agree, and the next is quick
    return stream.getvalue()


def to_svg(figure: Figure) -> str:
    """Render as SVG, the same bytes for the same figure."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "episode", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", facecolor=COLOURS["paper"], metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")
    return stream.getvalue()
