"""How to read a page, in plain text: the formula, the metrics, and what the oracle is."""

from __future__ import annotations

from episode.report.contents import Text

__all__ = ["comparison_guide", "evaluation_guide"]

METRICS = (
    "AUROC is the probability that a positive pair is ranked above a negative one; AUPR is the mean precision over all "
    "levels of recall. Log-loss is the mean surprise at the labels in nats, Brier the mean squared error of the "
    "probability, ECE the mean distance between probability and observed prevalence, in bins of equal mass. Lower is "
    "better for these three."
)


def evaluation_guide(reads: str, temperature: float | None) -> Text:
    """Explain an evaluation.

    Parameters
    ----------
    reads : str
        What U_I reads.
    temperature : float or None
        T of the model.
    """
    return Text(
        (
            _model(
                reads, fixed="" if temperature is None else f" T = {temperature:.3f} is one number for all.", same=""
            ),
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


def _model(reads: str, *, fixed: str, same: str) -> str:
    return (
        f"EPIsode predicts P(interaction) = sigmoid((U_I − R_E) / T). U_I, the potential, reads {reads}. R_E, the "
        f"impedance, belongs to the environment: a cell line, with its assay where one is given.{fixed} One impedance "
        f"shifts all pairs of an environment alike, so it cannot change the ranking inside an environment{same}. "
        "Several can (`impedance.channels`), because each pair is exposed to them in its own proportions, which its "
        "sequences decide. R_E moves the pooled ranking, the probabilities, and every decision at a fixed threshold."
    )
