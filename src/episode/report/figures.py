"""The figures of a report, each from the material alone, so that a reader can redraw them.

A figure whose numbers the material lacks is left out. This module knows neither HTML nor where the files go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import precision_recall_curve

from episode.evaluate.metrics import average_precision, expected_calibration_error, reliability_curve
from episode.report.drawing import COLOURS, WIDTH, Drawing, legend, new_figure, style
from episode.report.material import Material

__all__ = [
    "aupr_by_environment",
    "draw_all",
    "impedance_against_oracle",
    "impedance_against_truth",
    "pooled_precision_recall",
    "pooled_reliability",
    "training_curves",
]

NAMED_ROWS = 60
NAME_LENGTH = 24
CURVE_POINTS = 400
SMOOTHING = 40


def draw_all(material: Material) -> list[Drawing]:
    """Draw every figure for which the material holds something, in reading order."""
    drawers: list[Callable[[Material], Drawing | None]] = [
        impedance_against_truth,
        impedance_against_oracle,
        aupr_by_environment,
        pooled_precision_recall,
        pooled_reliability,
        training_curves,
    ]
    return [drawing for draw in drawers if (drawing := draw(material)) is not None]


def impedance_against_truth(material: Material) -> Drawing | None:
    """Draw R_S against the planted R_E; the two scales differ by the gauge, so a fitted line is drawn."""
    rows = _impedances(material, "r_true")
    if not rows:
        return None
    figure, axes = new_figure(3.8)
    x, y = _draw_impedances(axes, rows, "r_true")
    if len(rows) >= 3 and x.std() > 0:
        slope, intercept = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axes.plot(
            ends,
            intercept + slope * ends,
            "--",
            color=COLOURS["muted"],
            lw=1,
            label="least squares",
            zorder=1,
        )
    axes.set_xlabel("true impedance (units of the planted potential)")
    axes.set_ylabel("$R_S$ (units of $U_I$)")
    legend(figure, columns=3)
    rank = material.summary.get("truth", {}).get("spearman_impedance")
    said = "" if rank is None else f" Spearman correlation {rank:.2f}."
    return Drawing(
        "impedance_truth",
        "Impedance read by the Student against the truth",
        "One point an environment, with the 90 % interval from the error on validation environments. The model is "
        f"free to shift and stretch its scale, so the order and the tightness count, not the level.{said}",
        figure,
    )


def impedance_against_oracle(material: Material) -> Drawing | None:
    """Draw R_S against the oracle impedance, both in the model's own units."""
    rows = _impedances(material, "r_oracle")
    if not rows:
        return None
    figure, axes = new_figure(3.8)
    x, y = _draw_impedances(axes, rows, "r_oracle")
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, "--", color=COLOURS["muted"], lw=1, label="equal", zorder=1)
    mean = material.summary["mean_impedance"]["impedance"]
    if mean is not None:
        axes.axhline(mean, color=COLOURS["red"], lw=1, ls=":", label="training mean", zorder=1)
    axes.set_xlabel("oracle impedance (units of $U_I$)")
    axes.set_ylabel("$R_S$ (units of $U_I$)")
    legend(figure, columns=2)
    return Drawing(
        "impedance_oracle",
        "Impedance read by the Student against the oracle",
        "The oracle is the impedance that an environment's own labels call for; it is not to be had in "
        "use. Intervals (90 %) should cross the dashed line in about nine environments of ten. A cloud "
        "along the dotted line would be a Student that repeats the average.",
        figure,
    )


def aupr_by_environment(material: Material) -> Drawing | None:
    """Draw the ranking inside each environment between chance and, where known, the best possible."""
    rows = [
        (name, entry) for name, entry in material.summary["environments"].items() if entry["aupr_potential"] is not None
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: row[1]["aupr_potential"])
    place = np.arange(len(rows))
    chance = np.array([entry["share_positive"] for _, entry in rows])
    potential = np.array([entry["aupr_potential"] for _, entry in rows])
    named = len(rows) <= NAMED_ROWS
    figure, axes = new_figure(1.3 + (0.19 * len(rows) if named else 5.5))
    axes.hlines(place, chance, potential, color=COLOURS["grid"], lw=2.5, zorder=1)
    axes.plot(chance, place, "|", color=COLOURS["muted"], ms=8, mew=1.6, label="chance (share of positives)")
    axes.plot(potential, place, "o", color=COLOURS["blue"], ms=5, label="$U_I$")
    known = [(entry["aupr_bayes"], at) for (_, entry), at in zip(rows, place, strict=True) if entry.get("aupr_bayes")]
    if known:
        axes.plot(
            *zip(*known, strict=True),
            "D",
            mfc="none",
            mec=COLOURS["green"],
            ms=5,
            mew=1.2,
            label="best possible",
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_xlabel("average precision (AUPR)")
    axes.grid(axis="y", visible=False)
    if named:
        axes.set_yticks(place, [_short(name) for name, _ in rows])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(rows)} environments, by AUPR")
    legend(figure, columns=3)
    return Drawing(
        "aupr_by_environment",
        "Ranking inside each environment",
        "A scalar impedance cannot change this ranking: it is that of the potential U_I, which reads DNA "
        "alone. The bar from the grey tick to the dot is what the ranking adds to chance."
        + (" The diamond ranks by the planted log-odds: no model can do better on average." if known else ""),
        figure,
    )


def pooled_precision_recall(material: Material) -> Drawing | None:
    """Draw precision against recall over all environments together."""
    label, potential, logit = _scores(material)
    if label.size == 0 or label.min() == label.max():
        return None
    figure, axes = new_figure(4.2)
    curves = [
        ("$U_I$ alone", potential, COLOURS["red"], (0, (4, 1.5))),
        ("with the impedance used", logit, COLOURS["blue"], "-"),
        ("oracle impedance", _oracle_logit(material, potential, logit), COLOURS["green"], (0, (1, 1.2))),
    ]
    for name, score, colour, dash in curves:
        recall, precision = _thin(*precision_recall_curve(label, score)[1::-1])
        area = average_precision(label, score)
        axes.plot(recall, precision, color=colour, ls=dash, lw=1.7, label=f"{name} (AUPR {area:.3f})")
    share = float(label.mean())
    axes.axhline(share, color=COLOURS["muted"], lw=1, ls="--", label=f"chance ({share:.3f})", zorder=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    legend(figure, columns=1)
    return Drawing(
        "pooled_precision_recall",
        "Ranking over all environments together",
        "Here the impedance can help: it puts pairs of different environments on one scale. The oracle "
        "curve is what the best scalar per environment would give with the same U_I.",
        figure,
    )


def pooled_reliability(material: Material) -> Drawing | None:
    """Draw the observed share of positives against the predicted probability."""
    label, potential, logit = _scores(material)
    mean = material.summary["mean_impedance"]["impedance"]
    if label.size == 0:
        return None
    figure, axes = new_figure(4.2)
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], lw=1, ls="--", zorder=1, label="calibrated")
    curves = [("with the impedance used", logit, COLOURS["blue"], "o-")]
    if mean is not None:
        flat = (potential - mean) / material.summary["temperature"]
        curves.insert(0, ("mean impedance everywhere", flat, COLOURS["red"], "s--"))
    for name, score, colour, line in curves:
        probability = expit(score)
        curve = reliability_curve(label, probability)
        error = expected_calibration_error(label, probability)
        axes.plot(
            curve.probability,
            curve.observed,
            line,
            color=colour,
            lw=1.4,
            ms=4.5,
            label=f"{name} (ECE {error:.3f})",
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("predicted probability (mean of the bin)")
    axes.set_ylabel("share of positives in the bin")
    legend(figure, columns=1)
    return Drawing(
        "pooled_reliability",
        "Calibration over all environments together",
        "Bins of equal mass. On the dashed line a probability means what it says. ECE is the mean distance"
        " from it. Pooled calibration can hide environments that err in opposite ways: the table gives ECE"
        " for each.",
        figure,
    )


def training_curves(material: Material) -> Drawing | None:
    """Draw losses, the slope of the Student and the competition over the steps of the training."""
    panels: list[tuple[str, list[tuple[str, str, str, str]], list[float]]] = [
        (
            "task loss\n(nats)",
            [("train", "task", "model", "blue"), ("train", "opportunist", "Opportunist", "purple")],
            [],
        ),
        ("validation\nlog-loss (nats)", [("validation", "log_loss", "log-loss", "blue")], []),
        ("validation\nAUPR", [("validation", "aupr", "AUPR", "blue")], []),
        ("slope of $R_S$", [("validation", "slope", "slope", "blue")], [0.3, 1.0]),
        ("distillation\n($U_I$ units²)", [("train", "distillation", "distillation", "blue")], []),
        (
            "competition\n(nats)",
            [("train", "pull_in", "pull-in", "green"), ("train", "push_away", "push-away", "red")],
            [],
        ),
    ]
    filled = [
        (name, found, marks)
        for name, wanted, marks in panels
        if (
            found := [
                (*_series(material, kind, key), title, colour, kind)
                for kind, key, title, colour in wanted
                if _series(material, kind, key)[0].size
            ]
        )
    ]
    if not filled:
        return None
    figure = Figure(figsize=(WIDTH, 0.6 + 1.35 * len(filled)), layout="constrained", facecolor=COLOURS["paper"])
    grid = figure.subplots(len(filled), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, series, marks) in zip(grid, filled, strict=True):
        style(axes)
        for mark in marks:
            axes.axhline(mark, color=COLOURS["muted"], lw=1, ls=":", zorder=1)
        for (step, value, title, colour, kind), dash in zip(series, ("-", "--"), strict=False):
            marker = "o" if kind == "validation" else None
            shown = value if kind == "validation" else _smooth(value)
            axes.plot(step, shown, color=COLOURS[colour], lw=1.5, ls=dash, marker=marker, ms=3, label=title)
        axes.set_ylabel(name)
        axes.margins(y=0.12)
        if len(series) > 1:
            axes.legend(
                loc="lower right",
                bbox_to_anchor=(1.0, 0.97),
                ncols=2,
                fontsize=8.5,
                labelcolor=COLOURS["ink"],
                frameon=False,
                borderpad=0.1,
            )
    figure.align_ylabels(list(grid))
    grid[-1].set_xlabel("training step")
    return Drawing(
        "training_curves",
        "Training",
        "Training values are running means; validation values are single checks on the validation "
        "environments. The slope of R_S on the impedance that the labels call for should lie near 1 "
        "(dotted); below 0.3 (dotted) the Student repeats the average. Pull-in and push-away at zero "
        "throughout would mean that the competition did nothing.",
        figure,
    )


def _impedances(material: Material, reference: str) -> list[dict[str, Any]]:
    return [
        entry
        for entry in material.summary["environments"].values()
        if entry.get(reference) is not None and entry["r_student"] is not None
    ]


def _draw_impedances(
    axes: Axes, rows: Sequence[dict[str, Any]], reference: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    for known, name, colour, marker in (
        (False, "unseen environment", "blue", "o"),
        (True, "known environment", "purple", "s"),
    ):
        group = [entry for entry in rows if entry["known"] is known]
        if not group:
            continue
        x = np.array([entry[reference] for entry in group])
        y = np.array([entry["r_student"] for entry in group])
        low, high = (
            np.array([middle if entry[key] is None else entry[key] for entry, middle in zip(group, y, strict=True)])
            for key in ("r_student_low", "r_student_high")
        )
        axes.vlines(x, low, high, color=COLOURS[colour], lw=1.1, alpha=0.55, zorder=2)
        axes.plot(x, y, marker, color=COLOURS[colour], ms=5, label=name, zorder=3)
    return np.array([entry[reference] for entry in rows]), np.array([entry["r_student"] for entry in rows])


def _scores(material: Material) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.float64]]:
    scored = material.scored
    return (
        scored["label"].to_numpy(np.int_),
        scored["potential"].to_numpy(np.float64),
        scored["logit"].to_numpy(np.float64),
    )


def _oracle_logit(
    material: Material, potential: NDArray[np.float64], logit: NDArray[np.float64]
) -> NDArray[np.float64]:
    oracle = {name: entry["r_oracle"] for name, entry in material.summary["environments"].items()}
    impedance = material.scored["environment"].map(oracle).to_numpy(np.float64, na_value=math.nan)
    return np.where(np.isnan(impedance), logit, (potential - impedance) / material.summary["temperature"])


def _thin(
    recall: NDArray[np.float64], precision: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keep about `CURVE_POINTS` points, evenly in recall; the noisy first few are kept as they are."""
    recall, precision = recall[::-1], precision[::-1]
    if recall.size <= CURVE_POINTS:
        return recall, precision
    kept = np.unique(np.searchsorted(recall, np.linspace(0, 1, CURVE_POINTS)).clip(1, recall.size - 1))
    return recall[kept], precision[kept]


def _series(material: Material, kind: str, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = [
        (line["step"], line[key])
        for line in material.training
        if line.get("kind") == kind and _finite(line.get("step")) and _finite(line.get(key))
    ]
    step, value = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return step, value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _smooth(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean over a window of 1/40 of the series, at least 1, shorter at its ends."""
    width = max(1, value.size // SMOOTHING)
    kernel = np.ones(width)
    return np.convolve(value, kernel, "same") / np.convolve(np.ones_like(value), kernel, "same")


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
