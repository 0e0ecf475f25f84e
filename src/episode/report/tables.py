"""The tables of a report as HTML: escaped, captioned, numbers aligned.

This module knows the keys of ``metrics.json``; it does not know where on the page a table goes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["environment_table", "headline_table", "impedance_table", "rich", "table"]

NONE = "–"


def headline_table(summary: dict[str, Any]) -> str:
    """Compare what is known of the environment: nothing, the impedance used, the oracle, the truth."""
    pooled, oracle, mean, truth = (
        summary["pooled"],
        summary["oracle"],
        summary["mean_impedance"],
        summary.get("truth", {}),
    )
    macro = summary["macro"]
    rows = [
        [
            "U_I alone, training mean everywhere",
            macro["aupr_potential"],
            pooled["aupr_potential"],
            mean["log_loss"],
            mean["ece"],
        ],
        ["Impedance used", macro["aupr"], pooled["aupr"], pooled["log_loss"], pooled["ece"]],
        ["Oracle impedance", macro["aupr_potential"], oracle["aupr"], oracle["log_loss"], None],
    ]
    if truth:
        rows.append(
            [
                "Planted truth",
                truth["aupr_bayes_macro"],
                truth["aupr_bayes_pooled"],
                truth["log_loss_bayes"],
                None,
            ]
        )
    return table(
        "Mean AUPR is inside environments, where an impedance "
        "changes nothing; the other columns are over all labelled pairs. The oracle reads the labels.",
        ["", "mean AUPR", "pooled AUPR", "log-loss (nats)", "ECE"],
        [[row[0], *(_decimal(value) for value in row[1:])] for row in rows],
    )


def environment_table(summary: dict[str, Any]) -> str:
    """Ranking, calibration and decisions of each environment, then their mean, then all pairs together."""
    bayes = "truth" in summary
    keys = [
        "aupr_potential",
        *(["aupr_bayes"] if bayes else []),
        "auroc",
        "log_loss",
        "brier",
        "ece",
        "f1",
        "precision",
    ]
    keys.append("recall")
    heads = {
        "aupr_potential": "AUPR",
        "aupr_bayes": "best AUPR",
        "auroc": "AUROC",
        "log_loss": "log-loss",
        "brier": "Brier",
        "ece": "ECE",
        "f1": "F1",
        "precision": "precision",
        "recall": "recall",
    }

    def row(name: str, entry: dict[str, Any]) -> list[str]:
        mark = " (collapsed)" if entry.get("collapsed") else ""
        return [
            name + mark,
            f"{entry['n']:,}" if entry.get("n") is not None else "",
            _decimal(entry["share_positive"]),
            *(_decimal(entry.get(key)) for key in keys),
        ]

    best = {"aupr_bayes": summary.get("truth", {}).get("aupr_bayes_macro")}
    best_pooled = {"aupr_bayes": summary.get("truth", {}).get("aupr_bayes_pooled")}
    pooled = summary["pooled"] | best_pooled | {"aupr_potential": summary["pooled"]["aupr"]}
    return table(
        "AUPR by U_I alone inside environments (chance is the share of positives); the last row is over all"
        " pairs with the impedance used. Log-loss in nats. F1, precision and recall at probability 0.5; "
        f"nothing was tuned on these labels. {NONE} is a number that is not defined.",
        ["environment", "pairs", "positive", *(heads[key] for key in keys)],
        [row(name, entry) for name, entry in summary["environments"].items()],
        [row("mean over environments", summary["macro"] | best), row("all pairs together", pooled)],
    )


def impedance_table(summary: dict[str, Any]) -> str:
    """Show the impedance of each environment by every way of getting it."""
    truth = "truth" in summary

    def row(name: str, entry: dict[str, Any]) -> list[str]:
        low, high = entry["r_student_low"], entry["r_student_high"]
        return [
            name,
            "known" if entry["known"] else "unseen",
            f"{entry['support_size']:,}",
            _decimal(entry["r_student"], 2),
            NONE if low is None or high is None else f"{_decimal(low, 2)} to {_decimal(high, 2)}",
            _decimal(entry["r_teacher"], 2),
            _decimal(entry["r_used"], 2),
            _decimal(entry["r_oracle"], 2),
            *([_decimal(entry["r_true"], 2)] if truth else []),
            entry["warnings"],
        ]

    heads = ["environment", "status", "support", "R_S", "90 % interval", "R_T", "used", "oracle"]
    return table(
        "Impedances in units of U_I: R_S read by the Student from the support set (its size in pairs), R_T "
        "of the Teacher (known environments only), the one used, and the oracle that the labels call for."
        + (" The true impedance is in the units of the planted potential." if truth else ""),
        [*heads, *(["true"] if truth else []), "warnings"],
        [row(name, entry) for name, entry in summary["environments"].items()],
        text_columns=(0, 1, len(heads) + truth),
    )


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    totals: Iterable[Sequence[str]] = (),
    *,
    text_columns: Sequence[int] = (0,),
) -> str:
    """Write an HTML table.

    Parameters
    ----------
    caption : str
        Plain text.
    heads : sequence of str
        Column headings.
    rows, totals : iterable of sequence of str
        Cells in column order; the first of a row is its heading. `totals` are set off at the foot.
    text_columns : sequence of int
        0-based columns that hold words and are aligned left.
    """

    def cells(row: Sequence[str]) -> str:
        out = []
        for index, cell in enumerate(row):
            tag = 'th scope="row"' if index == 0 else "td"
            out.append(f"<{tag}{kind(index)}>{rich(cell)}</{tag[:2]}>")
        return f"<tr>{''.join(out)}</tr>"

    def kind(index: int) -> str:
        return ' class="word"' if index in text_columns else ""

    head = "".join(f'<th scope="col"{kind(index)}>{rich(name)}</th>' for index, name in enumerate(heads))
    foot = "\n".join(cells(row) for row in totals)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(caption.split(".")[0])}">'
        f"<table><caption>{rich(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{chr(10).join(cells(row) for row in rows)}\n</tbody>"
        + (f"\n<tfoot>\n{foot}\n</tfoot>" if foot else "")
        + "</table></div>"
    )


def rich(text: str) -> str:
    """Escape plain text for HTML and set the symbols of the model (U_I, R_E, R_S, R_T) with their index."""
    return re.sub(r"\b(U_I|R_[EST])\b", lambda found: "{}<sub>{}</sub>".format(*found[0].split("_")), html.escape(text))


def _decimal(value: float | None, places: int = 3) -> str:
    return NONE if value is None else f"{value:.{places}f}".replace("-", "−")
