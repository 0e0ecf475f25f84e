"""Figures that set rows or environments against each other, with intervals.

Drawn from ``results.json`` and ``metrics.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from episode.figure_style import COLOURS, Drawing, legend, new_figure, short
from episode.report.load import Number, number, potential_reads
from episode.report.methods import EPISODE, IMPEDANCE, METRICS, SEQUENCE, SHORTCUT, TITLES, group_of, ordered

__all__ = ["aupr_by_environment", "rows_by_metric"]

NAMED = 60
FAR = 2.0
GROUP_LOOKS = {
    EPISODE: ("blue", "o"),
    IMPEDANCE: ("green", "D"),
    SEQUENCE: ("red", "s"),
    SHORTCUT: ("muted", "^"),
}
OTHER_LOOK = ("purple", "v")


def rows_by_metric(
    results: dict[str, Any], level: str, metric: str, *, chance: float | None = None, rows: Sequence[str] = ()
) -> Drawing | None:
    """Draw one metric of every row with its interval, grouped as in the table.

    Parameters
    ----------
    results : dict
        Content of ``results.json``.
    level : str
        "macro" or "pooled".
    metric : str
    chance : float or None
        Drawn as a line.
    rows : sequence of str
        Only these; all where empty.
    """
    chosen = [row for row in ordered(results["rows"]) if not rows or row in rows]
    numbers = {row: number(results["rows"], row, level, metric) for row in chosen}
    found = [(row, value.value, value) for row, value in numbers.items() if value.value is not None]
    if not found:
        return None
    figure, axes = new_figure(1.1 + 0.19 * len(found))
    seen: set[str] = set()
    for place, (row, middle, value) in enumerate(found):
        group = group_of(row)
        colour, marker = GROUP_LOOKS.get(group, OTHER_LOOK)
        if value.low is not None and value.high is not None:
            axes.hlines(place, value.low, value.high, color=COLOURS[colour], lw=1.6, alpha=0.6)
        label = None if group in seen else TITLES[group]
        axes.plot([middle], [place], marker, color=COLOURS[colour], ms=5, label=label)
        seen.add(group)
    if chance is not None:
        axes.axvline(chance, color=COLOURS["muted"], lw=1, ls="--", zorder=1, label="chance")
    axes.set_yticks(range(len(found)), [row for row, _, _ in found], fontsize=8)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    about = METRICS[metric]
    unit = f" ({about.unit})" if about.unit else ""
    side = "Further right is better." if about.better > 0 else "Further left is better."
    where = "mean over environments" if level == "macro" else "all pairs together"
    axes.set_xlabel(f"{about.name}{unit}, {where}")
    far = _cut_outliers(axes, [middle for _, middle, _ in found]) if about.better < 0 else ""
    legend(figure, columns=3)
    return Drawing(
        f"rows_{level}_{metric}",
        f"{about.name} of every row, {where}",
        f"{side} Bars are 95 % intervals by resampling blocks of the genome. Bars of two rows may overlap and the rows "
        f"still differ: the table of differences has the paired intervals.{far}",
        f"results.json: rows.<row>.{level}.{metric}",
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


def aupr_by_environment(summary: dict[str, Any]) -> Drawing | None:
    """Draw the ranking inside each environment between chance and, where known, the best possible."""
    rows = [(name, entry) for name, entry in summary["environments"].items() if entry["aupr_potential"] is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: row[1]["aupr_potential"])
    place = np.arange(len(rows))
    chance = np.array([entry["share_positive"] for _, entry in rows])
    potential = np.array([entry["aupr_potential"] for _, entry in rows])
    named = len(rows) <= NAMED
    figure, axes = new_figure(1.3 + (0.19 * len(rows) if named else 5.5))
    intervals = [_interval(summary, name) for name, _ in rows]
    bounded = [
        (at, value.low, value.high)
        for at, value in zip(place, intervals, strict=True)
        if value.low is not None and value.high is not None
    ]
    axes.hlines(place, chance, potential, color=COLOURS["grid"], lw=2.5, zorder=1)
    for at, low, high in bounded:
        axes.hlines(at, low, high, color=COLOURS["blue"], lw=1.3, alpha=0.6, zorder=2)
    axes.plot(chance, place, "|", color=COLOURS["muted"], ms=8, mew=1.6, label="chance (share of positives)")
    axes.plot(potential, place, "o", color=COLOURS["blue"], ms=5, label="$U_I$")
    known = [(entry["aupr_bayes"], at) for (_, entry), at in zip(rows, place, strict=True) if entry.get("aupr_bayes")]
    if known:
        look: dict[str, Any] = {"mfc": "none", "mec": COLOURS["green"], "ms": 5, "mew": 1.2}
        axes.plot(*zip(*known, strict=True), "D", label="best possible", **look)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_xlabel("average precision (AUPR)")
    axes.grid(axis="y", visible=False)
    if named:
        axes.set_yticks(place, [short(name) for name, _ in rows])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(rows)} environments, by AUPR")
    legend(figure, columns=3)
    return Drawing(
        "aupr_by_environment",
        "AUPR inside each environment",
        "This ranking is that of the potential U_I, which reads "
        f"{potential_reads(summary)}; a scalar impedance cannot change it. The bar from the grey tick to the dot is "
        "what the ranking adds to chance."
        + (" The thin line is the 95 % interval." if bounded else "")
        + (" The diamond ranks by the planted log-odds: no model can do better on average." if known else ""),
        "metrics.json: environments.<environment>.aupr_potential, share_positive"
        + (", aupr_bayes" if known else "")
        + ("; intervals.environments.<environment>.aupr" if bounded else ""),
        figure,
    )


def _interval(summary: dict[str, Any], name: str) -> Number:
    return number(summary.get("intervals", {}), "environments", name, "aupr")
