"""Figures of the training: losses and checks, and the competition of each environment.

Drawn from ``figures.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from episode.evaluate.figures import Figures, PacingSeries, TrainingSeries
from episode.figure_style import COLOURS, LINES, Drawing, legend, new_panels, short
from episode.train.diagnostics import MIN_SLOPE

__all__ = ["training_figures"]

PANELS = 36
SMOOTHING = 20
TOP_RATIO = 2.0


@dataclass(frozen=True)
class _Panel:
    """One panel of `training`: losses, or numbers of the validation checks; `marks` are dotted lines."""

    label: str
    keys: tuple[str, ...]
    validation: bool = False
    marks: tuple[float, ...] = ()

    def series(self, run: TrainingSeries, key: str) -> list[tuple[float, float]]:
        """Return step and value where a number is known."""
        if self.validation:
            points = [(check.step, getattr(check, key)) for check in run.validation]
            return [(step, value) for step, value in points if value is not None]
        found = run.losses.get(key)
        return [] if found is None else list(zip(found.step, found.value, strict=True))


CHECKED = (
    _Panel("task loss\n(nats)", ("task", "opportunist")),
    _Panel("validation\nlog-loss (nats)", ("log_loss",), validation=True),
    _Panel("validation\nAUPR", ("aupr",), validation=True),
    _Panel("slope of $R_S$", ("slope",), validation=True, marks=(MIN_SLOPE, 1.0)),
    _Panel("distillation\n($U_I$ units²)", ("distillation",)),
)


def training_figures(figures: Figures) -> list[Drawing | None]:
    """Draw losses and checks over the steps, then rho_c, pull-in and push-away of each training environment."""
    runs = _first_seed(figures.training)
    panels, more = _environments(runs)
    return [_training(runs), *([_pacing(panels, more), _competition(panels, more)] if panels else [])]


def _training(runs: list[TrainingSeries]) -> Drawing | None:
    """Draw the losses and the checks on validation environments, one line per fold."""
    panels = [panel for panel in CHECKED if any(panel.series(run, key) for run in runs for key in panel.keys)]
    if not panels:
        return None
    figure, grid = new_panels(len(panels), columns=1, height=1.35, share_y=False, x="training step")
    single = len(runs) == 1
    for axes, panel in zip(grid, panels, strict=True):
        for mark in panel.marks:
            axes.axhline(mark, color=COLOURS["muted"], lw=1, ls=":", zorder=1)
        for run in runs:
            for key, (colour, dash) in zip(panel.keys, LINES, strict=False):
                points = panel.series(run, key)
                if not points:
                    continue
                step, value = np.array(points).T
                if not panel.validation:
                    value = _smooth(value)
                drawn = {"color": COLOURS[colour], "ls": dash, "lw": 1.5 if single else 1.0}
                axes.plot(step, value, marker="o" if panel.validation else None, ms=2.5, **drawn)
        if len(panel.keys) > 1:
            for name, (colour, dash) in zip(("model", "Opportunist"), LINES, strict=False):
                axes.plot([], [], color=COLOURS[colour], ls=dash, label=name)
        axes.set_ylabel(panel.label)
        axes.margins(y=0.12)
    if any(len(panel.keys) > 1 for panel in panels):
        legend(figure, columns=2)
    figure.align_ylabels(grid)
    each = "" if single else f" A line for each of {len(runs)} training runs (folds), first seed."
    return Drawing(
        "training",
        "Training",
        "Training values are running means; validation values are single checks on the validation environments. The "
        "slope of R_S on the impedance that the labels call for should lie near 1 (dotted); below "
        f"{MIN_SLOPE} (dotted) the Student repeats the average.{each}",
        "figures.json: training[].losses, training[].validation",
        figure,
    )


def _pacing(panels: list[tuple[str, PacingSeries]], more: str) -> Drawing:
    figure, grid = _grid(len(panels), x="training step", y=r"$\rho_c$ = Student's loss / Opportunist's")
    for axes, (name, series) in zip(grid, panels, strict=True):
        axes.axhline(1, color=COLOURS["muted"], lw=1, ls=":", zorder=1)
        axes.plot(series.step, np.minimum(series.ratio, TOP_RATIO), color=COLOURS["blue"], lw=1.3)
        axes.set_title(name, fontsize=7.5, color=COLOURS["ink"])
    return Drawing(
        "pacing",
        "Pacing of the competition",
        "One panel per training environment. Above 1 (dotted) the Opportunist, which reads shortcuts, is ahead of the "
        f"Student; below 1 the Student is ahead. Cut off at {TOP_RATIO:g}.{more}",
        "figures.json: training[].pacing.<environment>.ratio",
        figure,
    )


def _competition(panels: list[tuple[str, PacingSeries]], more: str) -> Drawing:
    figure, grid = _grid(len(panels), x="training step", y="pull-in, push-away (nats)")
    for axes, (name, series) in zip(grid, panels, strict=True):
        axes.plot(series.step, series.pull, color=COLOURS["green"], lw=1.3, label="pull-in")
        axes.plot(series.step, series.push, color=COLOURS["red"], lw=1.3, ls=(0, (4, 1.5)), label="push-away")
        axes.set_title(name, fontsize=7.5, color=COLOURS["ink"])
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=2, fontsize=8.5, labelcolor=COLOURS["ink"], frameon=False
    )
    idle = "" if any(any(series.pull + series.push) for _, series in panels) else " Here neither ever left zero."
    return Drawing(
        "competition",
        "Pull-in and push-away",
        "Pull-in acts where the Student misses its reasonable baseline, push-away where it relies on shortcuts. At "
        f"zero throughout the competition did nothing.{idle}{more}",
        "figures.json: training[].pacing.<environment>.pull, push",
        figure,
    )


def _first_seed(runs: Sequence[TrainingSeries]) -> list[TrainingSeries]:
    """Return one training run per fold, that of the smallest seed."""
    chosen: dict[str, TrainingSeries] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        chosen.setdefault(run.fold, run)
    return list(chosen.values())


def _environments(chosen: Sequence[TrainingSeries]) -> tuple[list[tuple[str, PacingSeries]], str]:
    """Return the environments to show by name, and a sentence about those left out."""
    found = [
        (short(name) if len(chosen) == 1 else f"{short(name)}\n{short(run.fold)}", series)
        for run in chosen
        for name, series in run.pacing.items()
        if series.step
    ]
    more = f" The first {PANELS} of {len(found)}; the file holds them all." if len(found) > PANELS else ""
    return found[:PANELS], more


def _grid(count: int, *, x: str, y: str) -> tuple[Figure, list[Axes]]:
    columns = 2 if count <= 4 else 3
    return new_panels(count, columns=columns, height=1.3 if columns == 2 else 1.0, x=x, y=y)


def _smooth(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running mean over a window of 1/20 of the series, at least 1, shorter at its ends."""
    kernel = np.ones(max(1, value.size // SMOOTHING))
    return np.convolve(value, kernel, "same") / np.convolve(np.ones_like(value), kernel, "same")
