"""Figures of impedances: what the Student reads against the Teacher, the labels and the truth; few labels.

Drawn from ``figures.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from episode.evaluate.figures import Figures, ImpedanceRecord
from episode.figure_style import COLOURS, Drawing, legend, new_figure, new_panels

__all__ = ["few_labels", "student_figures"]


@dataclass(frozen=True)
class _Reference:
    """What R_S is drawn against: file name, title, label of the axis, and how to read it."""

    name: str
    title: str
    label: str
    caption: str


REFERENCES = {
    "r_teacher": _Reference(
        "impedance_teacher",
        "Impedance read by the Student against the Teacher's",
        "Teacher's impedance $R_T$ (units of $U_I$)",
        "The Teacher knows the environment by name, the Student by its unlabelled pairs alone. On the dashed line both "
        "agree.",
    ),
    "r_oracle": _Reference(
        "impedance_oracle",
        "Impedance read by the Student against the oracle",
        "oracle impedance (units of $U_I$)",
        "The oracle is the impedance that an environment's own labels call for; it is not available at prediction "
        "time. Intervals should cross the dashed line in about nine environments of ten. A flat cloud would be a "
        "Student that repeats the average.",
    ),
    "r_true": _Reference(
        "impedance_truth",
        "Impedance read by the Student against the truth",
        "true impedance (units of the simulated potential)",
        "The model is free to shift and stretch its scale, so the order and the tightness count, not the level.",
    ),
}
FEW = {"log_loss": "log-loss (nats)", "ece": "ECE", "f1": "F1 at probability 0.5"}


def student_figures(figures: Figures) -> list[Drawing | None]:
    """Draw R_S against the truth, the oracle and the Teacher, each where it is known, with the interval of R_S."""
    return [_student_against(figures, reference) for reference in ("r_true", "r_oracle", "r_teacher")]


def _student_against(figures: Figures, reference: str) -> Drawing | None:
    records = [
        entry for entry in figures.impedance if getattr(entry, reference) is not None and entry.r_student is not None
    ]
    if not records:
        return None
    about = REFERENCES[reference]
    figure, axes = new_figure(3.8)
    for known, group, colour, marker in (
        (False, "unseen environment", "blue", "o"),
        (True, "known environment", "purple", "s"),
    ):
        chosen = [entry for entry in records if entry.known is known]
        if not chosen:
            continue
        x, y = _column(chosen, reference), _column(chosen, "r_student")
        low, high = (_column(chosen, key) for key in ("r_student_low", "r_student_high"))
        _draw_bars(axes, x, y, low, high, color=COLOURS[colour], lw=1.1, alpha=0.55, zorder=2)
        axes.plot(x, y, marker, color=COLOURS[colour], ms=5, label=group, zorder=3)
    _draw_line(axes, _column(records, reference), _column(records, "r_student"), fitted=reference == "r_true")
    axes.set_xlabel(about.label)
    axes.set_ylabel("Student's impedance $R_S$ (units of $U_I$)")
    legend(figure, columns=2)
    several = len({entry.fold for entry in records}) > 1
    scales = " Each fold is a training run with a scale of its own." if several else ""
    return Drawing(
        about.name,
        about.title,
        f"One point per environment; the bar is the 90 % interval of R_S. {about.caption}{scales}",
        f"figures.json: impedance[].{reference}, r_student, r_student_low, r_student_high",
        figure,
    )


def few_labels(figures: Figures) -> Drawing | None:
    """Draw what a few labels of each environment bring."""
    points = sorted(figures.few_labels, key=lambda point: point.labels)
    shown = {metric: label for metric, label in FEW.items() if any(point[metric].value is not None for point in points)}
    if len(points) < 2 or not shown:
        return None
    figure, grid = new_panels(len(shown), columns=1, height=1.35, share_y=False, x="labels shown in each environment")
    for axes, (metric, label) in zip(grid, shown.items(), strict=True):
        place = [at for at, point in enumerate(points) if point[metric].value is not None]
        numbers = [[point[metric].value, point[metric].low, point[metric].high] for point in points]
        value, low, high = np.array(numbers, dtype=np.float64)[place].T
        _draw_bars(axes, place, value, low, high, color=COLOURS["blue"], lw=1.4, alpha=0.6)
        axes.plot(place, value, "o-", color=COLOURS["blue"], lw=1.5, ms=5)
        axes.set_xticks(range(len(points)), [str(point.labels) for point in points])
        axes.set_xlim(-0.4, len(points) - 0.6)
        axes.set_ylabel(label)
        axes.margins(y=0.15)
    return Drawing(
        "few_labels",
        "What a few labels bring",
        "All pairs together, the same pairs at every point: whatever was shown is left out. Bars are 95 % intervals; "
        "whether two points differ is for the table of differences to show. Log-loss and ECE: lower is better.",
        "figures.json: few_labels[]",
        figure,
    )


def _column(records: list[ImpedanceRecord], key: str) -> NDArray[np.float64]:
    """Return one number of every record; NaN where it is unknown."""
    return np.array([getattr(entry, key) for entry in records], dtype=np.float64)


def _draw_bars(
    axes: Axes, x: ArrayLike, y: ArrayLike, low: NDArray[np.float64], high: NDArray[np.float64], **look: Any
) -> None:
    """Draw intervals; no further than the number itself where an end is NaN."""
    axes.vlines(x, np.where(np.isnan(low), y, low), np.where(np.isnan(high), y, high), **look)


def _draw_line(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], *, fitted: bool) -> None:
    """Draw where both are equal or, where their scales differ, what fits them best."""
    if not fitted:
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
        axes.plot(ends, ends, "--", color=COLOURS["muted"], lw=1, label="equal", zorder=1)
    elif len(x) >= 3 and x.std() > 0:
        slope, intercept = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, intercept + slope * ends, "--", color=COLOURS["muted"], lw=1, label="least squares", zorder=1)
