"""Figures that set methods or environments against each other, with intervals.

Drawn from ``results.json`` and ``metrics.json``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from episode.compare.methods.registry import EPISODE, GROUPS, IMPEDANCE, SEQUENCE, SHORTCUT, find_method, ordered
from episode.compare.results import ComparisonResults
from episode.figure_style import COLOURS, Drawing, legend, new_figure, short
from episode.metrics.claims import direction
from episode.report.load import Evaluation
from episode.report.methods import METRICS

__all__ = ["aupr_by_environment", "methods_by_metric"]

NAMED = 60
FAR = 2.0
GROUP_LOOKS = {
    EPISODE: ("blue", "o"),
    IMPEDANCE: ("green", "D"),
    SEQUENCE: ("red", "s"),
    SHORTCUT: ("muted", "^"),
}
OTHER_LOOK = ("purple", "v")


def methods_by_metric(
    results: ComparisonResults, scope: str, metric: str, *, chance: float | None = None
) -> Drawing | None:
    """Draw one metric of every method with its interval, grouped as in the table.

    Parameters
    ----------
    scope : str
        "macro" or "pooled".
    chance : float or None
        Drawn as a line.
    """
    numbers = {method: results.estimate(method, scope, metric) for method in ordered(results.methods)}
    found = [(method, number.value, number) for method, number in numbers.items() if number.value is not None]
    if not found:
        return None
    figure, axes = new_figure(1.1 + 0.19 * len(found))
    seen: set[str] = set()
    for place, (method, middle, number) in enumerate(found):
        group = find_method(method).group
        colour, marker = GROUP_LOOKS.get(group, OTHER_LOOK)
        if number.low is not None and number.high is not None:
            axes.hlines(place, number.low, number.high, color=COLOURS[colour], lw=1.6, alpha=0.6)
        label = None if group in seen else GROUPS[group]
        axes.plot([middle], [place], marker, color=COLOURS[colour], ms=5, label=label)
        seen.add(group)
    if chance is not None:
        axes.axvline(chance, color=COLOURS["muted"], lw=1, ls="--", zorder=1, label="chance")
    axes.set_yticks(range(len(found)), [short(method) for method, _, _ in found], fontsize=8)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    about = METRICS[metric]
    side = "Further right is better." if direction(metric) > 0 else "Further left is better."
    where = "mean over environments" if scope == "macro" else "all pairs together"
    axes.set_xlabel(f"{about.heading}, {where}")
    far = _cut_outliers(axes, [middle for _, middle, _ in found]) if direction(metric) < 0 else ""
    legend(figure, columns=3)
    return Drawing(
        f"rows_{scope}_{metric}",
        f"{about.name} of every method, {where}",
        f"{side} Bars are 95 % intervals by resampling blocks of the genome. Bars of two methods may overlap and the "
        f"methods still differ: the table of differences has the paired intervals.{far}",
        f"results.json: methods.<method>.{scope}.{metric}",
        figure,
    )


def _cut_outliers(axes: Axes, values: Sequence[float]) -> str:
    """End the axis where a few far values would squeeze the others together; they are written at its end."""
    limit = FAR * float(np.median(values))
    beyond = [(place, value) for place, value in enumerate(values) if value > limit]
    if not beyond:
        return ""
    axes.set_xlim(right=limit)
    for place, value in beyond:
        axes.text(limit, place, f"{value:.2f} \u2192", ha="right", va="center", fontsize=8, color=COLOURS["ink"])
    return " An arrow stands for a value beyond the axis."


def aupr_by_environment(evaluation: Evaluation) -> Drawing | None:
    """Draw the ranking inside each environment between chance and, where known, the best possible."""
    found = sorted(
        (
            (entry.aupr_potential, name, entry)
            for name, entry in evaluation.results.environments.items()
            if entry.aupr_potential is not None
        ),
        key=lambda item: item[0],
    )
    if not found:
        return None
    place = np.arange(len(found))
    potential = [aupr for aupr, _, _ in found]
    prevalence = np.array([entry.share_positive for _, _, entry in found], dtype=np.float64)
    named = len(found) <= NAMED
    figure, axes = new_figure(1.3 + (0.19 * len(found) if named else 5.5))
    axes.hlines(place, prevalence, potential, color=COLOURS["grid"], lw=2.5, zorder=1)
    intervals = [evaluation.inside(name, "aupr") for _, name, _ in found]
    for at, interval in enumerate(intervals):
        if interval.low is not None and interval.high is not None:
            axes.hlines(at, interval.low, interval.high, color=COLOURS["blue"], lw=1.3, alpha=0.6, zorder=2)
    axes.plot(prevalence, place, "|", color=COLOURS["muted"], ms=8, mew=1.6, label="chance (prevalence)")
    axes.plot(potential, place, "o", color=COLOURS["blue"], ms=5, label="$U_I$")
    bounded = any(interval.bounded for interval in intervals)
    best = [(entry.aupr_bayes, at) for at, (_, _, entry) in enumerate(found) if entry.aupr_bayes]
    if best:
        axes.plot(*zip(*best, strict=True), "D", label="best possible", mfc="none", mec=COLOURS["green"], ms=5, mew=1.2)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.8, len(found) - 0.2)
    axes.set_xlabel("average precision (AUPR)")
    axes.grid(axis="y", visible=False)
    if named:
        axes.set_yticks(place, [short(name) for _, name, _ in found])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(found)} environments, by AUPR")
    legend(figure, columns=3)
    return Drawing(
        "aupr_by_environment",
        "AUPR inside each environment",
        "This ranking is that of the potential U_I, which reads "
        f"{evaluation.potential_reads}; a scalar impedance cannot change it. The bar from the grey tick to the dot is "
        "what the ranking adds to chance."
        + (" The thin line is the 95 % interval." if bounded else "")
        + (" The diamond ranks by the simulated log-odds: no model can do better on average." if best else ""),
        "metrics.json: environments.<environment>.aupr_potential, share_positive"
        + (", aupr_bayes" if best else "")
        + ("; intervals.environments.<environment>.aupr" if bounded else ""),
        figure,
    )
