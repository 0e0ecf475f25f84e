"""Figures of the training: losses and checks, and the competition of each environment.

Drawn from ``figures.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from episode.figure_style import COLOURS, LINES, Drawing, legend, new_panels, short

__all__ = ["competition", "pacing", "training"]

PANELS = 36
SMOOTHING = 20
TOP_RATIO = 2.0


def training(figures: dict[str, Any]) -> Drawing | None:
    """Draw the losses and the checks on validation environments over the steps, a line a fold."""
    runs = _first_seed(figures["training"])
    panels = [
        ("task loss\n(nats)", "losses", ("task", "opportunist"), ()),
        ("validation\nlog-loss (nats)", "validation", ("log_loss",), ()),
        ("validation\nAUPR", "validation", ("aupr",), ()),
        ("slope of $R_S$", "validation", ("slope",), (0.3, 1.0)),
        ("distillation\n($U_I$ units²)", "losses", ("distillation",), ()),
    ]
    filled = [panel for panel in panels if any(_series(run, panel[1], key) for run in runs for key in panel[2])]
    if not filled:
        return None
    figure, grid = new_panels(len(filled), columns=1, height=1.35, share_y=False, x="training step")
    single = len(runs) == 1
    for axes, (label, section, keys, marks) in zip(grid, filled, strict=True):
        for mark in marks:
            axes.axhline(mark, color=COLOURS["muted"], lw=1, ls=":", zorder=1)
        for run in runs:
            for key, (colour, dash) in zip(keys, LINES, strict=False):
                points = _series(run, section, key)
                if not points:
                    continue
                step, value = np.array(points).T
                if section == "losses":
                    value = _smooth(value)
                drawn = {"color": COLOURS[colour], "ls": dash, "lw": 1.5 if single else 1.0}
                axes.plot(step, value, marker="o" if section == "validation" else None, ms=2.5, **drawn)
        if len(keys) > 1:
            for name, (colour, dash) in zip(("model", "Opportunist"), LINES, strict=False):
                axes.plot([], [], color=COLOURS[colour], ls=dash, label=name)
        axes.set_ylabel(label)
        axes.margins(y=0.12)
    if any(len(panel[2]) > 1 for panel in filled):
        legend(figure, columns=2)
    figure.align_ylabels(grid)
    each = "" if single else f" A line for each of {len(runs)} trainings (folds), first seed."
    return Drawing(
        "training",
        "Training",
        "Training values are running means; validation values are single checks on the validation environments. The "
        "slope of R_S on the impedance that the labels call for should lie near 1 (dotted); below 0.3 (dotted) the "
        f"Student repeats the average.{each}",
        "figures.json: training[].losses, training[].validation",
        figure,
    )


def pacing(figures: dict[str, Any]) -> Drawing | None:
    """Draw rho_c of each training environment over the steps."""
    panels, more = _environments(figures["training"])
    if not panels:
        return None
    figure, grid = _grid(len(panels), x="training step", y=r"$\rho_c$ = Student's loss / Opportunist's")
    for axes, (name, entry) in zip(grid, panels, strict=True):
        axes.axhline(1, color=COLOURS["muted"], lw=1, ls=":", zorder=1)
        axes.plot(entry["step"], np.minimum(entry["ratio"], TOP_RATIO), color=COLOURS["blue"], lw=1.3)
        axes.set_title(name, fontsize=7.5, color=COLOURS["ink"])
    return Drawing(
        "pacing",
        "Pacing of the competition",
        "One panel a training environment. Above 1 (dotted) the Opportunist, which reads shortcuts, is ahead of the "
        f"Student; below 1 the Student is ahead. Cut off at {TOP_RATIO:g}.{more}",
        "figures.json: training[].pacing.<environment>.ratio",
        figure,
    )


def competition(figures: dict[str, Any]) -> Drawing | None:
    """Draw pull-in and push-away of each training environment over the steps."""
    panels, more = _environments(figures["training"])
    if not panels:
        return None
    figure, grid = _grid(len(panels), x="training step", y="pull-in, push-away (nats)")
    for axes, (name, entry) in zip(grid, panels, strict=True):
        axes.plot(entry["step"], entry["pull"], color=COLOURS["green"], lw=1.3, label="pull-in")
        axes.plot(entry["step"], entry["push"], color=COLOURS["red"], lw=1.3, ls=(0, (4, 1.5)), label="push-away")
        axes.set_title(name, fontsize=7.5, color=COLOURS["ink"])
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=2, fontsize=8.5, labelcolor=COLOURS["ink"], frameon=False
    )
    idle = "" if any(any(entry["pull"] + entry["push"]) for _, entry in panels) else " Here neither ever left zero."
    return Drawing(
        "competition",
        "Pull-in and push-away",
        "Pull-in acts where the Student misses its reasonable baseline, push-away where it leans on shortcuts. At zero "
        f"throughout the competition did nothing.{idle}{more}",
        "figures.json: training[].pacing.<environment>.pull, push",
        figure,
    )


def _first_seed(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One training a fold, the one of the least seed."""
    chosen: dict[str, dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: run.get("seed", 0)):
        chosen.setdefault(str(run.get("fold", "")), run)
    return list(chosen.values())


def _environments(runs: Sequence[dict[str, Any]]) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    chosen = _first_seed(runs)
    found = [
        (short(name) if len(chosen) == 1 else f"{short(name)}\n{short(str(run['fold']))}", entry)
        for run in chosen
        for name, entry in run.get("pacing", {}).items()
        if entry["step"]
    ]
    more = f" The first {PANELS} of {len(found)}; the file holds them all." if len(found) > PANELS else ""
    return found[:PANELS], more


def _grid(count: int, *, x: str, y: str) -> Any:
    columns = 2 if count <= 4 else 3
    return new_panels(count, columns=columns, height=1.3 if columns == 2 else 1.0, x=x, y=y)


def _series(run: dict[str, Any], section: str, key: str) -> list[tuple[float, float]]:
    if section == "losses":
        entry = run.get("losses", {}).get(key, {"step": [], "value": []})
        points = list(zip(entry["step"], entry["value"], strict=True))
    else:
        points = [(check["step"], check.get(key)) for check in run.get("validation", [])]
    return [(step, value) for step, value in points if value is not None and math.isfinite(value)]


def _smooth(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean over a window of 1/20 of the series, at least 1, shorter at its ends."""
    kernel = np.ones(max(1, value.size // SMOOTHING))
    return np.convolve(value, kernel, "same") / np.convolve(np.ones_like(value), kernel, "same")
