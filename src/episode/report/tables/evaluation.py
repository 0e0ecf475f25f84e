"""The tables of an evaluation, from ``metrics.json``."""

from __future__ import annotations

from typing import Any

from episode.report.findings import NONE, decimal
from episode.report.load import Number, number
from episode.report.tables import Cell, count, figure, interval, share, table, text

__all__ = ["environment_table", "headline_table", "impedance_table"]

HEADS = {
    "auroc": "AUROC",
    "log_loss": "log-loss (nats)",
    "brier": "Brier",
    "ece": "ECE",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
}


def headline_table(summary: dict[str, Any]) -> str:
    """Compare what is known of the environment: nothing, the impedance used, the oracle, the truth."""
    pooled, oracle, mean = summary["pooled"], summary["oracle"], summary["mean_impedance"]
    macro, truth, blocks = summary["macro"], summary.get("truth", {}), summary.get("intervals", {})

    def bounded(value: float | None, *keys: str) -> Cell:
        found = number(blocks, *keys)
        return interval(Number(value, found.low, found.high))

    rows = [
        [
            text("U_I alone, training mean everywhere", order=0),
            bounded(macro["aupr_potential"], "mean_impedance", "macro", "aupr"),
            bounded(pooled["aupr_potential"], "mean_impedance", "pooled", "aupr"),
            bounded(mean["log_loss"], "mean_impedance", "pooled", "log_loss"),
            bounded(mean["ece"], "mean_impedance", "pooled", "ece"),
        ],
        [
            text("Impedance used", order=1),
            bounded(macro["aupr"], "macro", "aupr"),
            bounded(pooled["aupr"], "pooled", "aupr"),
            bounded(pooled["log_loss"], "pooled", "log_loss"),
            bounded(pooled["ece"], "pooled", "ece"),
        ],
        [
            text("Oracle impedance (reads the labels)", order=2),
            figure(macro["aupr"]),
            figure(oracle["aupr"]),
            figure(oracle["log_loss"]),
            figure(None),
        ],
    ]
    if truth:
        rows.append(
            [
                text("Planted truth", order=3),
                figure(truth["aupr_bayes_macro"]),
                figure(truth["aupr_bayes_pooled"]),
                figure(truth["log_loss_bayes"]),
                figure(None),
            ]
        )
    said = " Below a number its 95 % interval." if number(blocks, "macro", "aupr").bounded else ""
    return table(
        "What the impedance brings. Mean AUPR is inside environments, where a single impedance changes nothing; "
        f"the other columns are over all labelled pairs.{said}",
        ["impedance", "mean AUPR", "pooled AUPR", "log-loss (nats)", "ECE"],
        rows,
        name="headline",
    )


def environment_table(summary: dict[str, Any]) -> str:
    """Ranking, calibration and decisions of each environment, then their mean, then all pairs together."""
    truth, blocks = summary.get("truth", {}), summary.get("intervals", {})
    bayes = "truth" in summary

    def row(name: str, entry: dict[str, Any], aupr: float | None, best: float | None, *place: str) -> list[Cell]:
        mark = " (collapsed)" if entry.get("collapsed") else ""
        found = number(blocks, *place, "aupr")
        return [
            text(name + mark),
            count(entry.get("n")),
            share(entry["share_positive"]),
            interval(Number(aupr, found.low, found.high)),
            *([figure(best)] if bayes else []),
            *(_number(entry, key, number(blocks, *place, key)) for key in HEADS),
        ]

    macro, pooled = summary["macro"], summary["pooled"]
    said = " Small: 95 % intervals." if number(blocks, "macro", "aupr").bounded else ""
    return table(
        "Every environment. AUPR by U_I alone inside environments (chance is the share of positives); the last row is "
        "over all pairs with the impedance used. F1, precision and recall at probability 0.5; nothing was tuned on "
        f"these labels. {NONE} is a number that is not defined.{said}",
        ["environment", "pairs", "positive", "AUPR", *(["best AUPR"] if bayes else []), *HEADS.values()],
        [
            row(name, entry, entry["aupr_potential"], entry.get("aupr_bayes"), "environments", name)
            for name, entry in summary["environments"].items()
        ],
        [
            row("mean over environments", macro, macro["aupr_potential"], truth.get("aupr_bayes_macro"), "macro"),
            row("all pairs together", pooled, pooled["aupr"], truth.get("aupr_bayes_pooled"), "pooled"),
        ],
        name="environments",
    )


def impedance_table(summary: dict[str, Any]) -> str:
    """Show the impedance of each environment by every way of getting it."""
    truth = "truth" in summary

    def row(name: str, entry: dict[str, Any]) -> list[Cell]:
        low, high = entry["r_student_low"], entry["r_student_high"]
        between = "" if low is None or high is None else f"{decimal(low, 2)} to {decimal(high, 2)}"
        return [
            text(name),
            text("known" if entry["known"] else "unseen"),
            count(entry["support_size"]),
            Cell(decimal(entry["r_student"], 2), entry["r_student"], between),
            figure(entry["r_teacher"], 2),
            figure(entry["r_used"], 2),
            figure(entry["r_oracle"], 2),
            *([figure(entry["r_true"], 2)] if truth else []),
            text(entry["warnings"]),
        ]

    heads = ["environment", "status", "support (pairs)", "R_S", "R_T", "used", "oracle"]
    return table(
        "Impedances in units of U_I. R_S read by the Student from the support set, with its 90 % interval; R_T of the "
        "Teacher (known environments only); the one used; and the oracle that the labels call for."
        + (" The true impedance is in the units of the planted potential." if truth else ""),
        [*heads, *(["true"] if truth else []), "warnings"],
        [row(name, entry) for name, entry in summary["environments"].items()],
        text_columns=(0, 1, len(heads) + truth),
        name="impedances",
    )


def _number(entry: dict[str, Any], key: str, found: Number) -> Cell:
    return interval(Number(entry.get(key), found.low, found.high))
