"""Figures of rankings and probabilities: precision against recall, reliability, potentials by label.

Drawn from ``figures.json``. Which methods are drawn over each other is the choice of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from episode.evaluate.curves import POOLED
from episode.evaluate.figures import Figures, PrecisionRecall, Reliability
from episode.figure_style import COLOURS, LINES, Drawing, legend, new_figure, new_panels, short

__all__ = [
    "potential_by_environment",
    "precision_recall_by_environment",
    "precision_recall_pooled",
    "reliability_by_environment",
    "reliability_pooled",
]

PANELS = 24
"""Maximum number of environments shown; the file has them all."""
WIDE_LABEL = 24
MARKERS = ("o", "s", "^", "D")
T = TypeVar("T")
Named = list[tuple[str, dict[str, T]]]
"""What to call a method, and its curves by environment."""


def precision_recall_pooled(figures: Figures, methods: Mapping[str, str]) -> Drawing | None:
    """Draw precision against recall over all environments together.

    Parameters
    ----------
    methods : mapping of str to str
        Up to four methods and what to call them, in the order of importance.
    """
    curves = _curves(figures.precision_recall, methods, [POOLED])
    if not curves:
        return None
    figure, axes = new_figure(4.2)
    prevalence = _draw_recall(axes, curves, POOLED)
    axes.set(xlabel="recall", ylabel="precision")
    _dashed_legend(figure, axes, f"chance (prevalence, {prevalence:.3f})")
    return Drawing(
        "precision_recall_pooled",
        "Ranking over all environments together",
        "Recall is the fraction of positives that are found, precision the fraction of found pairs that are positive. "
        "Here an impedance can help: it puts pairs of different environments on one scale. Further up is better.",
        f"figures.json: precision_recall.<method>.{POOLED}",
        figure,
    )


def precision_recall_by_environment(figures: Figures, methods: Mapping[str, str]) -> Drawing | None:
    """Draw precision against recall inside each environment; parameters as for the pooled figure."""
    names, more, curves = _environments(figures.precision_recall, methods)
    if not curves:
        return None
    figure, grid = _panels(len(names), x="recall", y="precision")
    for axes, name in zip(grid, names, strict=True):
        _draw_recall(axes, curves, name)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_title(short(name), fontsize=8, color=COLOURS["ink"])
    _shared_legend(figure, grid, curves)
    return Drawing(
        "precision_recall_by_environment",
        "Ranking inside each environment",
        "One panel per environment; the grey dashes are chance, its prevalence. One impedance cannot move these "
        f"curves.{more} An environment of one class has no such curve.",
        "figures.json: precision_recall.<method>.<environment>",
        figure,
    )


def reliability_pooled(figures: Figures, methods: Mapping[str, str]) -> Drawing | None:
    """Draw the observed prevalence against the predicted probability, over all environments together."""
    curves = _curves(figures.reliability, methods, [POOLED])
    if not curves:
        return None
    figure, axes = new_figure(4.2)
    _draw_reliability(axes, curves, POOLED, 4.5, _top(curves, [POOLED]))
    axes.set(xlabel="predicted probability (mean of the bin)", ylabel="prevalence in the bin")
    _dashed_legend(figure, axes, "calibrated")
    return Drawing(
        "reliability_pooled",
        "Calibration over all environments together",
        "Bins of equal mass. On the grey dashes a probability is calibrated. Pooled calibration can hide "
        "environments that err in opposite directions: see each.",
        f"figures.json: reliability.<method>.{POOLED}",
        figure,
    )


def reliability_by_environment(figures: Figures, methods: Mapping[str, str]) -> Drawing | None:
    """Draw the same for each environment."""
    names, more, curves = _environments(figures.reliability, methods)
    if not curves:
        return None
    figure, grid = _panels(len(names), x="predicted probability", y="observed prevalence")
    top = _top(curves, names)
    for axes, name in zip(grid, names, strict=True):
        _draw_reliability(axes, curves, name, 2.5, top)
        axes.set_title(short(name), fontsize=8, color=COLOURS["ink"])
    _shared_legend(figure, grid, curves)
    return Drawing(
        "reliability_by_environment",
        "Calibration inside each environment",
        "One panel per environment; on the grey dashes a probability is calibrated, above them it is too low, "
        f"below them too high.{more}",
        "figures.json: reliability.<method>.<environment>",
        figure,
    )


def potential_by_environment(figures: Figures) -> Drawing | None:
    """Draw how the potentials of positives and of negatives lie in each environment."""
    found = {name: bins for name, bins in figures.potential.items() if sum(bins.positive + bins.negative)}
    if not found:
        return None
    names = sorted(found, key=lambda name: -sum(found[name].positive))[:PANELS]
    figure, grid = _panels(
        len(names), x=r"potential $(U_I - \mathrm{level}) / T$ (nats)", y="fraction of the class in the bin"
    )
    for axes, name in zip(grid, sorted(names), strict=True):
        bins = found[name]
        for count, colour, fill in ((bins.negative, "muted", 0.25), (bins.positive, "red", 0.0)):
            total = sum(count)
            if not total:
                continue
            heights = np.array(count) / total
            axes.stairs(heights, bins.edges, color=COLOURS[colour], lw=1.3)
            if fill:
                axes.stairs(heights, bins.edges, color=COLOURS[colour], alpha=fill, fill=True)
        positives, negatives = sum(bins.positive), sum(bins.negative)
        axes.set_title(f"{short(name)}\n{positives:,} of {positives + negatives:,}", fontsize=7.5, color=COLOURS["ink"])
        axes.margins(x=0.02)
    positive = Line2D([], [], color=COLOURS["red"], lw=1.5, label="positives")
    negative = Line2D([], [], color=COLOURS["muted"], lw=4, alpha=0.5, label="negatives")
    _legend_above(figure, [positive, negative], columns=2)
    return Drawing(
        "potential_by_environment",
        "Potentials by label and environment",
        "The further the red line lies to the right of the grey, the better the ranking. Under the name: positives of "
        "all pairs. Where the impedance is right, what differs between environments is the size of the red part, not "
        f"where the two lie.{_more(len(found))}",
        "figures.json: potential.<environment>",
        figure,
    )


def _draw_recall(axes: Axes, curves: Named[PrecisionRecall], name: str) -> float:
    """Draw the curves of one environment; return its prevalence."""
    prevalence = 0.0
    for (label, by_name), (colour, dash) in zip(curves, LINES, strict=False):
        if name in by_name:
            curve, prevalence = by_name[name], by_name[name].share
            axes.plot(curve.recall, curve.precision, color=COLOURS[colour], ls=dash, lw=1.6, label=label)
            axes.axhline(prevalence, color=COLOURS["muted"], lw=1, ls="--", zorder=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return prevalence


def _draw_reliability(axes: Axes, curves: Named[Reliability], name: str, size: float, top: float) -> None:
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], lw=1, ls="--", zorder=1)
    for (label, by_name), (colour, dash), marker in zip(curves, LINES, MARKERS, strict=False):
        if name in by_name:
            curve = by_name[name]
            drawn = {"color": COLOURS[colour], "ls": dash, "marker": marker, "ms": size, "lw": 1.3, "label": label}
            axes.plot(curve.probability, curve.observed, **drawn)
    axes.set(xlim=(0, top), ylim=(0, top))


def _dashed_legend(figure: Figure, axes: Axes, dashes: str) -> None:
    """Put the legend above a figure, and in it what the grey dashes are."""
    axes.plot([], [], color=COLOURS["muted"], lw=1, ls="--", label=dashes)
    legend(figure, columns=1)


def _curves(section: dict[str, dict[str, T]], methods: Mapping[str, str], names: Sequence[str]) -> Named[T]:
    """Return what to call each method that has any of the curves, and its curves."""
    return [(label, section[name]) for name, label in methods.items() if set(section.get(name, {})) & set(names)]


def _environments(section: dict[str, dict[str, T]], methods: Mapping[str, str]) -> tuple[list[str], str, Named[T]]:
    """Return the environments to show, a sentence about those left out, and the curves."""
    names = sorted({name for method in methods for name in section.get(method, {})} - {POOLED})
    return names[:PANELS], _more(len(names)), _curves(section, methods, names[:PANELS])


def _more(count: int) -> str:
    return f" The first {PANELS} of {count} environments; the file holds them all." if count > PANELS else ""


def _panels(count: int, *, x: str, y: str) -> tuple[Figure, list[Axes]]:
    columns = 2 if count <= 4 else 3
    return new_panels(count, columns=columns, height=1.75 if columns == 2 else 1.3, x=x, y=y)


def _top(curves: Named[Reliability], names: Sequence[str]) -> float:
    """Upper end of both axes: the highest tenth that any point needs."""
    points = [
        value
        for _, by_name in curves
        for name in names
        if name in by_name
        for value in [*by_name[name].probability, *by_name[name].observed]
    ]
    return min(1.0, float(np.ceil(max([*points, 0.05]) * 10.001) / 10))


def _shared_legend(figure: Figure, grid: list[Axes], curves: Named[T]) -> None:
    """Put one legend above panels that do not all have every curve; none for a single curve."""
    drawn = {str(line.get_label()): line for axes in grid for line in axes.get_lines()}
    order = [label for label, _ in curves if label in drawn]
    if len(order) > 1:
        _legend_above(figure, [drawn[label] for label in order], columns=1 if max(map(len, order)) > WIDE_LABEL else 2)


def _legend_above(figure: Figure, lines: list[Line2D], *, columns: int) -> None:
    figure.legend(
        lines,
        [str(line.get_label()) for line in lines],
        loc="outside upper left",
        ncols=columns,
        fontsize=8.5,
        labelcolor=COLOURS["ink"],
        frameon=False,
        borderpad=0.1,
    )
