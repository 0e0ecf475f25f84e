"""Figures of rankings and probabilities: precision against recall, reliability, potentials by label.

Drawn from ``figures.json``. Which rows are laid over each other is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from episode.evaluate.curves import POOLED
from episode.figure_style import COLOURS, LINES, Drawing, legend, new_figure, new_panels, short

__all__ = [
    "potential_by_environment",
    "precision_recall_by_environment",
    "precision_recall_pooled",
    "reliability_by_environment",
    "reliability_pooled",
]

PANELS = 24
"""Environments shown at most; the file has them all."""
WIDE_LABEL = 24
MARKERS = ("o", "s", "^", "D")


def precision_recall_pooled(figures: dict[str, Any], rows: dict[str, str]) -> Drawing | None:
    """Draw precision against recall over all environments together.

    Parameters
    ----------
    figures : dict
        Content of ``figures.json``.
    rows : dict of str to str
        Up to four rows and what to call them, in the order of importance.
    """
    curves = _curves(figures["precision_recall"], rows, [POOLED])
    if not curves:
        return None
    figure, axes = new_figure(4.2)
    share = _draw_recall(axes, curves, POOLED)
    axes.plot([], [], color=COLOURS["muted"], lw=1, ls="--", label=f"chance (share of positives, {share:.3f})")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    legend(figure, columns=1)
    return Drawing(
        "precision_recall_pooled",
        "Ranking over all environments together",
        "Recall is the share of the positives that are found, precision the share of the found that are positive. Here "
        "an impedance can help: it puts pairs of different environments on one scale. Further up is better.",
        f"figures.json: precision_recall.<row>.{POOLED}",
        figure,
    )


def precision_recall_by_environment(figures: dict[str, Any], rows: dict[str, str]) -> Drawing | None:
    """Draw precision against recall inside each environment; parameters as for the pooled figure."""
    names, more = _environments(figures["precision_recall"], rows)
    curves = _curves(figures["precision_recall"], rows, names)
    if not curves:
        return None
    figure, grid = _panels(len(names), x="recall", y="precision")
    for axes, name in zip(grid, names, strict=True):
        _draw_recall(axes, curves, name)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_title(short(name), fontsize=8, color=COLOURS["ink"])
    _shared_legend(figure, grid, curves)
    return Drawing(
        "precision_recall_by_environment",
        "Ranking inside each environment",
        "One panel an environment; the grey dashes are chance, its share of positives. One impedance cannot move these "
        f"curves.{more} An environment of one class has no such curve.",
        "figures.json: precision_recall.<row>.<environment>",
        figure,
    )


def reliability_pooled(figures: dict[str, Any], rows: dict[str, str]) -> Drawing | None:
    """Draw the observed share of positives against the predicted probability, over all environments together."""
    curves = _curves(figures["reliability"], rows, [POOLED])
    if not curves:
        return None
    figure, axes = new_figure(4.2)
    _draw_reliability(axes, curves, POOLED, 4.5)
    top = _top(curves, [POOLED])
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_xlabel("predicted probability (mean of the bin)")
    axes.set_ylabel("share of positives in the bin")
    axes.plot([], [], color=COLOURS["muted"], lw=1, ls="--", label="calibrated")
    legend(figure, columns=1)
    return Drawing(
        "reliability_pooled",
        "Calibration over all environments together",
        "Bins of equal mass. On the grey dashes a probability means what it says. Pooled calibration can hide "
        "environments that err in opposite ways: see each.",
        f"figures.json: reliability.<row>.{POOLED}",
        figure,
    )


def reliability_by_environment(figures: dict[str, Any], rows: dict[str, str]) -> Drawing | None:
    """Draw the same for each environment."""
    names, more = _environments(figures["reliability"], rows)
    curves = _curves(figures["reliability"], rows, names)
    if not curves:
        return None
    figure, grid = _panels(len(names), x="predicted probability", y="share of positives")
    top = _top(curves, names)
    for axes, name in zip(grid, names, strict=True):
        _draw_reliability(axes, curves, name, 2.5)
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_title(short(name), fontsize=8, color=COLOURS["ink"])
    _shared_legend(figure, grid, curves)
    return Drawing(
        "reliability_by_environment",
        "Calibration inside each environment",
        "One panel an environment; on the grey dashes a probability means what it says, above them it is too low, "
        f"below them too high.{more}",
        "figures.json: reliability.<row>.<environment>",
        figure,
    )


def potential_by_environment(figures: dict[str, Any]) -> Drawing | None:
    """Draw how the potentials of positives and of negatives lie in each environment."""
    found = {name: entry for name, entry in figures["potential"].items() if sum(entry["positive"] + entry["negative"])}
    if not found:
        return None
    names = sorted(found, key=lambda name: -sum(found[name]["positive"]))[:PANELS]
    figure, grid = _panels(
        len(names), x=r"potential $(U_I - \mathrm{level}) / T$ (nats)", y="share of the class in the bin"
    )
    for axes, name in zip(grid, sorted(names), strict=True):
        edges = np.array(found[name]["edges"])
        for key, colour, dash, fill in (("negative", "muted", "-", 0.25), ("positive", "red", "-", 0.0)):
            count = np.array(found[name][key], dtype=float)
            if not count.sum():
                continue
            axes.stairs(count / count.sum(), edges, color=COLOURS[colour], lw=1.3, ls=dash)
            if fill:
                axes.stairs(count / count.sum(), edges, color=COLOURS[colour], alpha=fill, fill=True)
        axes.set_title(
            f"{short(name)}\n{sum(found[name]['positive']):,} of "
            f"{sum(found[name]['positive']) + sum(found[name]['negative']):,}",
            fontsize=7.5,
            color=COLOURS["ink"],
        )
        axes.margins(x=0.02)
    grid[0].plot([], [], color=COLOURS["red"], lw=1.5, label="positives")
    grid[0].plot([], [], color=COLOURS["muted"], lw=4, alpha=0.5, label="negatives")
    figure.legend(*grid[0].get_legend_handles_labels(), **_legend_place(2))
    return Drawing(
        "potential_by_environment",
        "Potentials by label and environment",
        "The further the red line lies to the right of the grey, the better the ranking. Under the name: positives of "
        "all pairs. Where the impedance is right, what differs between environments is the size of the red part, not "
        f"where the two lie.{_more(len(found))}",
        "figures.json: potential.<environment>",
        figure,
    )


def _draw_recall(axes: Axes, curves: list[tuple[str, dict[str, Any]]], name: str) -> float:
    share = 0.0
    for (label, by_name), (colour, dash) in zip(curves, LINES, strict=False):
        if name in by_name:
            curve, share = by_name[name], by_name[name]["share"]
            axes.plot(curve["recall"], curve["precision"], color=COLOURS[colour], ls=dash, lw=1.6, label=label)
            axes.axhline(curve["share"], color=COLOURS["muted"], lw=1, ls="--", zorder=1)
    return share


def _draw_reliability(axes: Axes, curves: list[tuple[str, dict[str, Any]]], name: str, size: float) -> None:
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], lw=1, ls="--", zorder=1)
    for (label, by_name), (colour, dash), marker in zip(curves, LINES, MARKERS, strict=False):
        if name in by_name:
            curve = by_name[name]
            drawn = {"color": COLOURS[colour], "ls": dash, "marker": marker, "ms": size, "lw": 1.3, "label": label}
            axes.plot(curve["probability"], curve["observed"], **drawn)


def _curves(section: dict[str, Any], rows: dict[str, str], names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return what to call each row that has any of the curves, and its curves."""
    return [(label, section[row]) for row, label in rows.items() if set(section.get(row, {})) & set(names)]


def _environments(section: dict[str, Any], rows: dict[str, str]) -> tuple[list[str], str]:
    """Return the environments to show and what is to be said of those left out."""
    names = sorted({name for row in rows for name in section.get(row, {})} - {POOLED})
    return names[:PANELS], _more(len(names))


def _more(count: int) -> str:
    return f" The first {PANELS} of {count} environments; the file holds them all." if count > PANELS else ""


def _panels(count: int, *, x: str, y: str) -> Any:
    columns = 2 if count <= 4 else 3
    return new_panels(count, columns=columns, height=1.75 if columns == 2 else 1.3, x=x, y=y)


def _top(curves: list[tuple[str, dict[str, Any]]], names: Sequence[str]) -> float:
    """Upper end of both axes: the highest tenth that any point needs."""
    points = [
        value
        for _, by_name in curves
        for name in names
        if name in by_name
        for value in [*by_name[name]["probability"], *by_name[name]["observed"]]
    ]
    return min(1.0, float(np.ceil(max([*points, 0.05]) * 10.001) / 10))


def _shared_legend(figure: Any, grid: list[Axes], curves: list[tuple[str, dict[str, Any]]]) -> None:
    handles: dict[str, Any] = {}
    for axes in grid:
        handles |= {
            str(line.get_label()): line for line in axes.get_lines() if not str(line.get_label()).startswith("_")
        }
    order = [label for label, _ in curves if label in handles]
    if len(order) > 1:
        columns = 1 if max(map(len, order)) > WIDE_LABEL else 2
        figure.legend([handles[label] for label in order], order, **_legend_place(columns))


def _legend_place(columns: int) -> dict[str, Any]:
    return {
        "loc": "outside upper left",
        "ncols": columns,
        "fontsize": 8.5,
        "labelcolor": COLOURS["ink"],
        "frameon": False,
        "borderpad": 0.1,
    }
