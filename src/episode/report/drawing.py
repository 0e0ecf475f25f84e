"""The look that all figures share, and their rendering as PNG and SVG.

Matplotlib's object interface only: no global state, no window. Figures are narrow, so that they stay legible
on a telephone. Knows nothing of what is drawn.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["COLOURS", "WIDTH", "Drawing", "legend", "new_figure", "style", "to_png", "to_svg"]

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
"""Told apart by colour-blind readers; each also gets a marker or dash of its own."""
WIDTH = 4.6
"""Inches."""


@dataclass(frozen=True)
class Drawing:
    """A figure with what is said about it.

    Parameters
    ----------
    name : str
        File name without ending.
    title, caption : str
        Plain text; the caption says how to read the figure.
    figure : Figure
    """

    name: str
    title: str
    caption: str
    figure: Figure


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Return a figure of the common width and `height` inches with one styled pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=COLOURS["paper"])
    axes = figure.subplots()
    style(axes)
    return figure, axes


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
    return stream.getvalue()


def to_svg(figure: Figure) -> str:
    """Render as SVG, the same bytes for the same figure."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "episode", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", facecolor=COLOURS["paper"], metadata={"Date": None, "Creator": None})
    return stream.getvalue()
