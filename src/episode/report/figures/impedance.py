"""Figures of impedances: what the Student reads against the Teacher, the labels and the truth; few labels.

Drawn from ``figures.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from episode.figure_style import COLOURS, Drawing, legend, new_figure, new_panels

__all__ = ["few_labels", "student_against"]

REFERENCES = {
    "r_teacher": (
        "impedance_teacher",
        "Impedance read by the Student against the Teacher's",
        "Teacher's impedance $R_T$ (units of $U_I$)",
        "The Teacher knows the environment by name, the Student by its unlabelled pairs alone. On the dashes both say "
        "the same.",
    ),
    "r_oracle": (
        "impedance_oracle",
        "Impedance read by the Student against the oracle",
        "oracle impedance (units of $U_I$)",
        "The oracle is the impedance that an environment's own labels call for; it is not to be had in use. Intervals "
        "should cross the dashes in about nine environments of ten. A flat cloud would be a Student that repeats the "
        "average.",
    ),
    "r_true": (
        "impedance_truth",
        "Impedance read by the Student against the truth",
        "true impedance (units of the planted potential)",
        "The model is free to shift and stretch its scale, so the order and the tightness count, not the level.",
    ),
}
FEW = (
    ("log_loss", "log-loss (nats)"),
    ("ece", "ECE"),
    ("f1", "F1 at probability 0.5"),
)


def student_against(figures: dict[str, Any], reference: str) -> Drawing | None:
    """Draw R_S against ``r_teacher``, ``r_oracle`` or ``r_true``, with the interval of R_S."""
    records = [
        entry
        for entry in figures["impedance"]
        if entry.get(reference) is not None and entry.get("r_student") is not None
    ]
    if not records:
        return None
    name, title, label, caption = REFERENCES[reference]
    figure, axes = new_figure(3.8)
    for known, group, colour, marker in (
        (False, "unseen environment", "blue", "o"),
        (True, "known environment", "purple", "s"),
    ):
        chosen = [entry for entry in records if bool(entry["known"]) is known]
        if not chosen:
            continue
        x = np.array([entry[reference] for entry in chosen])
        y = np.array([entry["r_student"] for entry in chosen])
        low, high = (
            np.array(
                [middle if entry.get(key) is None else entry[key] for entry, middle in zip(chosen, y, strict=True)]
            )
            for key in ("r_student_low", "r_student_high")
        )
        axes.vlines(x, low, high, color=COLOURS[colour], lw=1.1, alpha=0.55, zorder=2)
        axes.plot(x, y, marker, color=COLOURS[colour], ms=5, label=group, zorder=3)
    x, y = (np.array([entry[key] for entry in records]) for key in (reference, "r_student"))
    if reference == "r_true":
        if len(records) >= 3 and x.std() > 0:
            slope, intercept = np.polyfit(x, y, 1)
            ends = np.array([x.min(), x.max()])
            axes.plot(
                ends, intercept + slope * ends, "--", color=COLOURS["muted"], lw=1, label="least squares", zorder=1
            )
    else:
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
        axes.plot(ends, ends, "--", color=COLOURS["muted"], lw=1, label="equal", zorder=1)
    axes.set_xlabel(label)
    axes.set_ylabel("Student's impedance $R_S$ (units of $U_I$)")
    legend(figure, columns=2)
    folds = len({entry.get("fold") for entry in records})
    several = " Each fold is a training with a scale of its own." if folds > 1 else ""
    return Drawing(
        name,
        title,
        f"One point an environment; the bar is the 90 % interval of R_S. {caption}{several}",
        f"figures.json: impedance[].{reference}, r_student, r_student_low, r_student_high",
        figure,
    )


def few_labels(figures: dict[str, Any]) -> Drawing | None:
    """Draw what a few labels an environment bring."""
    points = sorted(figures["few_labels"], key=lambda entry: entry["labels"])
    shown = [
        (key, label) for key, label in FEW if any((entry.get(key) or {}).get("value") is not None for entry in points)
    ]
    if len(points) < 2 or not shown:
        return None
    figure, grid = new_panels(len(shown), columns=1, height=1.35, share_y=False, x="labels shown in each environment")
    for axes, (key, label) in zip(grid, shown, strict=True):
        found = [
            (place, entry[key]) for place, entry in enumerate(points) if (entry.get(key) or {}).get("value") is not None
        ]
        place = [at for at, _ in found]
        value = [number["value"] for _, number in found]
        low, high = (
            [v if n.get(k) is None else n[k] for (_, n), v in zip(found, value, strict=True)] for k in ("low", "high")
        )
        axes.vlines(place, low, high, color=COLOURS["blue"], lw=1.4, alpha=0.6)
        axes.plot(place, value, "o-", color=COLOURS["blue"], lw=1.5, ms=5)
        axes.set_xticks(range(len(points)), [str(entry["labels"]) for entry in points])
        axes.set_xlim(-0.4, len(points) - 0.6)
        axes.set_ylabel(label)
        axes.margins(y=0.15)
    return Drawing(
        "few_labels",
        "What a few labels bring",
        "All pairs together, the same pairs at every point: whatever was shown is left out. Bars are 95 % intervals; "
        "whether two points differ is for the table of differences to say. Log-loss and ECE: lower is better.",
        "figures.json: few_labels[]",
        figure,
    )
