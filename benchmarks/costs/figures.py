"""Figures of the page of measurements; knows the key `scaling` of the results, and measures nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from episode.figure_style import COLOURS, WIDTH, style

GIB = 2**30


def scaling_figures(row: dict[str, Any]) -> dict[str, Figure]:
    """Draw time and memory by pairs and by elements, a figure each, with the fitted lines."""
    return {f"speed_{of}": _figure(row, of) for of in ("pairs", "elements")}


def _figure(row: dict[str, Any], of: str) -> Figure:
    points, fits = row["raw"][of], row["value"]
    figure = Figure(figsize=(1.6 * WIDTH, 2.9), layout="constrained", facecolor=COLOURS["paper"])
    for axes, (key, label, unit) in zip(
        figure.subplots(1, 2), (("seconds", "seconds", 1.0), ("peak_bytes", "peak memory, GiB", GIB)), strict=True
    ):
        style(axes)
        fit = fits[f"{key}_by_{of}"]["last"]
        x = [point[of] for point in points]
        axes.plot(x, [point[key] / unit for point in points], "o", color=COLOURS["blue"], ms=5.5, label="measured")
        along = np.geomspace(fit["range"][0], fit["range"][1], 50)
        line = fit["factor"] * along ** fit["exponent"] / unit
        axes.plot(along, line, color=COLOURS["red"], lw=1.4, label=f"fit: exponent {fit['exponent']:.2f}")
        axes.set(xscale="log", yscale="log", xlabel=of, ylabel=label)
        if key == "peak_bytes":
            axes.set(yscale="linear", ylim=(0, 1.5 * max(point[key] / unit for point in points)))
        axes.legend(fontsize=8, frameon=False, labelcolor=COLOURS["ink"], loc="best")
    return figure
