"""How to read a page, in plain text: the formula, the metrics, and what the oracle is."""

from __future__ import annotations

from episode.evaluate.results import EvaluationResults
from episode.inference.closed_form import View
from episode.report.contents import Text
from episode.report.findings import environments

__all__ = ["comparison_guide", "evaluation_guide", "student_text", "training_text"]

METRICS = (
    "AUROC is the probability that a positive pair is ranked above a negative one; AUPR is the mean precision over all "
    "levels of recall. Log-loss is the mean surprise at the labels in nats, Brier the mean squared error of the "
    "probability, ECE the mean distance between probability and observed prevalence, in bins of equal mass. Lower is "
    "better for these three."
)

LOCI: dict[View, str] = {"shared": "shared with training", "new": "new to training"}
"""Views in words."""


def evaluation_guide(reads: str, results: EvaluationResults) -> Text:
    """Explain an evaluation.

    Parameters
    ----------
    reads : str
        What U_I reads.
    """
    fixed = f" T = {results.temperature:.3f} is one number for all."
    if results.closed_form:
        fixed = " T is 1: U_I and R_E are log-odds, and 3 is the impedance of the mean training cell line."
    return Text(
        (
            _model(reads, fixed=fixed, same=""),
            METRICS,
            "Numbers called oracle read the labels that they are judged by: what could be had, not what was had.",
        )
    )


def comparison_guide() -> Text:
    """Explain a comparison."""
    return Text(
        (
            _model(
                "the two DNA sequences only",
                fixed="",
                same=": methods that differ only in it have the same macro AUROC and AUPR",
            ),
            "Macro numbers are means over the environments in which they are defined; pooled numbers are of all pairs "
            f"together. {METRICS}",
            "The method oracle reads the test labels: what could be had, not what was had. Nothing else was chosen on "
            "test pairs.",
        )
    )


def student_text(results: EvaluationResults) -> Text | None:
    """Say which Student read R_S, of how many members, and what the cell lines have in common with training.

    None of an evaluation that does not say.
    """
    student = results.student
    if student is None:
        return None
    if student.kind == "network":
        return Text(("R_S is read by the network: set encoder and Student head, trained with the potential.",))
    text = (
        "R_S is read in closed form: from the scores and the motif composition of the support set, by a forecast that "
        "was fitted on training cell lines as unseen ones."
    )
    lost = "nothing transfers between cell lines"
    if student.members == 1:
        text += " U_I and R_S are calibrated on loci that were held out in training, wherever pairs lie"
        return Text((f"{text}{f'; {lost}' if student.nothing_transfers else ''}.",))
    parts = [
        f"{environments(student.count(view))} with most pairs at loci {words}"
        + (f" (there {lost})" if view in student.nothing_transfers else "")
        for view, words in LOCI.items()
        if student.count(view)
    ]
    return Text(
        (
            f"{text} U_I is the mean of {student.members} members, each trained without some of the cell lines and "
            "loci (cross-fitted). U_I and R_S are calibrated on what members had not learned, apart for loci that "
            f"training has seen and for new ones: {' and '.join(parts)}.",
        )
    )


def training_text(results: EvaluationResults) -> Text | None:
    """Say what the training curves are of, where it is not the run as a whole that predicts."""
    if not results.closed_form:
        return None
    text = (
        "Validation and R_S in these curves are those of the network that is trained along; the closed-form Student "
        "was fitted afterwards and is not among them."
    )
    if results.members > 1:
        text = f"The run has {results.members} members, each with a training run of its own; shown is the first. {text}"
    return Text((text,))


def _model(reads: str, *, fixed: str, same: str) -> str:
    return (
        f"EPIsode predicts P(interaction) = sigmoid((U_I − R_E) / T). U_I, the potential, reads {reads}. R_E, the "
        f"impedance, belongs to the environment: a cell line, with its assay where one is given.{fixed} One impedance "
        f"shifts all pairs of an environment alike, so it cannot change the ranking inside an environment{same}. "
        "Several can (`impedance.channels`), because each pair is exposed to them in its own proportions, which its "
        "sequences decide. R_E moves the pooled ranking, the probabilities, and every decision at a fixed threshold."
    )
