"""The tables of an evaluation, from ``metrics.json``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from episode.evaluate.results import EnvironmentSummary
from episode.metrics.intervals import Estimate
from episode.metrics.metrics import Numbers
from episode.report.findings import NONE, decimal, verbatim
from episode.report.load import Evaluation
from episode.report.tables import Cell, Row, Table, count, figure, interval, share, text

__all__ = ["environment_table", "headline_table", "impedance_table"]

HEADLINE = (("macro", "aupr"), ("pooled", "aupr"), ("pooled", "log_loss"), ("pooled", "ece"))
"""Scope and metric of the columns of `headline_table`."""
HEADS = {
    "auroc": "AUROC",
    "log_loss": "log-loss (nats)",
    "brier": "Brier",
    "ece": "ECE",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
}


def headline_table(evaluation: Evaluation) -> Table | None:
    """Compare what is known of the environment: nothing, the impedance used, the oracle, the truth.

    None where no pair is labelled.
    """
    if not evaluation.results.labelled:
        return None
    results, mean = evaluation.results, evaluation.results.mean_impedance
    macro, pooled, oracle, truth = results.macro, results.pooled, results.oracle, results.truth
    rows: list[tuple[str, tuple[float | None, ...], Callable[[str, str], Estimate] | None]] = [
        (
            "U_I alone, training mean everywhere",
            (macro.aupr_potential, pooled.aupr_potential, mean.log_loss, mean.ece),
            evaluation.mean_impedance,
        ),
        ("Impedance used", (macro.aupr, pooled.aupr, pooled.log_loss, pooled.ece), evaluation.used),
        ("Oracle impedance (reads the labels)", (macro.aupr, oracle.aupr, oracle.log_loss, None), None),
    ]
    if truth is not None:
        best = (truth.aupr_bayes_macro, truth.aupr_bayes_pooled, truth.log_loss_bayes, None)
        rows.append(("Simulated truth", best, None))
    small = " Below a number its 95 % interval." if evaluation.has_intervals else ""
    return Table(
        "What the impedance brings. Mean AUPR is inside environments, where a single impedance changes nothing; "
        f"the other columns are over all labelled pairs.{small}",
        ("impedance", "mean AUPR", "pooled AUPR", "log-loss (nats)", "ECE"),
        tuple(
            (
                text(name, order=place),
                *(
                    _bounded(value, Estimate() if found is None else found(*measure))
                    for value, measure in zip(values, HEADLINE, strict=True)
                ),
            )
            for place, (name, values, found) in enumerate(rows)
        ),
        name="headline",
    ).trimmed()


def environment_table(evaluation: Evaluation) -> Table | None:
    """Ranking, calibration and decisions of each environment, then their mean, then all pairs together.

    None where no pair is labelled.
    """
    if not evaluation.results.labelled:
        return None
    results = evaluation.results
    macro, pooled, truth = results.macro, results.pooled, results.truth

    def row(
        name: str,
        pairs: int | None,
        entry: Numbers,
        aupr: float | None,
        bayes: float | None,
        found: Callable[[str], Estimate],
    ) -> Row:
        return (
            text(name),
            count(pairs),
            share(entry.share_positive),
            _bounded(aupr, found("aupr")),
            *([] if truth is None else [figure(bayes)]),
            *(_bounded(getattr(entry, key), found(key)) for key in HEADS),
        )

    over, within = (partial(evaluation.used, scope) for scope in ("pooled", "macro"))
    bayes_macro, bayes_pooled = (None, None) if truth is None else (truth.aupr_bayes_macro, truth.aupr_bayes_pooled)
    totals = (
        row("mean over environments", None, macro, macro.aupr_potential, bayes_macro, within),
        row("all pairs together", pooled.n, pooled, pooled.aupr, bayes_pooled, over),
    )
    small = " Small: 95 % intervals." if evaluation.has_intervals else ""
    best = () if truth is None else ("best AUPR",)
    return Table(
        "Every environment. AUPR by U_I alone inside environments (chance is the prevalence); the last row is "
        "over all pairs with the impedance used. F1, precision and recall at probability 0.5; nothing was tuned on "
        f"these labels. {NONE} is a number that is not defined.{small}",
        ("environment", "pairs", "positive", "AUPR", *best, *HEADS.values()),
        tuple(
            row(
                f"{verbatim(name)} (collapsed)" if entry.collapsed else verbatim(name),
                entry.n,
                entry,
                entry.aupr_potential,
                entry.aupr_bayes,
                partial(evaluation.inside, name),
            )
            for name, entry in results.environments.items()
        ),
        totals,
        name="environments",
    ).trimmed()


def impedance_table(evaluation: Evaluation) -> Table:
    """Show the impedance of each environment by every way of estimating it."""
    simulated = evaluation.results.truth is not None
    student = evaluation.results.student
    views = {} if student is None or student.members == 1 else student.views

    def row(name: str, entry: EnvironmentSummary) -> Row:
        low, high = entry.r_student_low, entry.r_student_high
        between = "" if low is None or high is None else f"{decimal(low, 2)} to {decimal(high, 2)}"
        return (
            text(verbatim(name), order=name),
            text("known" if entry.known else "unseen"),
            *([text(views.get(name, ""))] if views else []),
            count(entry.support_size),
            Cell(decimal(entry.r_student, 2), entry.r_student, between),
            figure(entry.r_teacher, 2),
            figure(entry.r_used, 2),
            figure(entry.r_oracle, 2),
            *([figure(entry.r_true, 2)] if simulated else []),
            text(entry.warnings),
        )

    names = ("environment", "status", *(["loci"] if views else []))
    heads = (*names, "support (pairs)", "R_S", "R_T", "used", "oracle")
    unit = "log-odds" if evaluation.results.closed_form else "units of U_I"
    return Table(
        f"Impedances in {unit}. R_S read by the Student from the support set, with its 90 % interval; R_T of the "
        "Teacher (known environments only); the one used"
        + ("; and the oracle that the labels call for." if evaluation.results.labelled else ".")
        + (" The true impedance is in the units of the simulated potential." if simulated else ""),
        (*heads, *(["true"] if simulated else []), "warnings"),
        tuple(row(name, entry) for name, entry in evaluation.results.environments.items()),
        text_columns=(*range(len(names)), len(heads) + simulated),
        name="impedances",
    ).trimmed()


def _bounded(value: float | None, found: Estimate) -> Cell:
    """Make a cell of a number with the interval of an estimate of it."""
    return interval(Estimate(value=value, low=found.low, high=found.high))
