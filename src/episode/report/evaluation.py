"""The page of an evaluation: which words, tables and figures, in which order."""

from __future__ import annotations

from typing import Any

from episode.figure_style import Drawing
from episode.report.contents import Contents, Section
from episode.report.figures import curves, impedance, ranking, training
from episode.report.findings.evaluation import find_evaluation
from episode.report.load import Evaluation, potential_reads
from episode.report.tables.evaluation import environment_table, headline_table, impedance_table

__all__ = ["evaluation_contents"]

RANKED = {
    "episode.fused": "with the impedance used",
    "episode.potential": "$U_I$ alone",
    "oracle": "oracle impedance (reads the labels)",
}
CLAIMED = {
    "episode.fused": "with the impedance used",
    "mean_impedance": "training mean everywhere",
    "oracle": "oracle impedance (reads the labels)",
}


def evaluation_contents(material: Evaluation) -> Contents:
    """Put the page of an evaluation together."""
    summary, figures = material.summary, material.figures
    own = {"episode.fused": "with the impedance used"}
    drawn: list[tuple[str, str, list[Drawing | None]]] = [
        (
            "Impedance",
            "impedance",
            [impedance.student_against(figures, reference) for reference in ("r_true", "r_oracle", "r_teacher")],
        ),
        (
            "Ranking",
            "ranking",
            [
                ranking.aupr_by_environment(summary),
                curves.precision_recall_pooled(figures, RANKED),
                curves.precision_recall_by_environment(figures, own),
                curves.potential_by_environment(figures),
            ],
        ),
        (
            "Calibration",
            "calibration",
            [
                curves.reliability_pooled(figures, CLAIMED),
                curves.reliability_by_environment(
                    figures, {row: CLAIMED[row] for row in ("episode.fused", "mean_impedance")}
                ),
            ],
        ),
        ("Training", "training", [training.training(figures), training.pacing(figures), training.competition(figures)]),
    ]
    before = {
        "impedance": impedance_table(summary),
        "ranking": environment_table(summary),
    }
    sections = [Section("In short", "short", (headline_table(summary),))]
    for title, anchor, drawings in drawn:
        parts = [before[anchor]] if anchor in before else []
        shown = [drawing for drawing in drawings if drawing is not None]
        if parts or shown:
            sections.append(Section(title, anchor, (*parts, *shown)))
    sections.append(Section("How to read this", "how", (_how_to_read(summary),)))
    return Contents(
        title="EPIsode evaluation",
        lead="",
        findings=find_evaluation(material),
        sections=tuple(sections),
        provenance=summary.get("provenance") or {},
    )


def _how_to_read(summary: dict[str, Any]) -> str:
    reads, temperature = potential_reads(summary), summary["temperature"]
    return f"""<p>The model is P(interaction) = sigmoid((U<sub>I</sub> − R<sub>E</sub>) / T). U<sub>I</sub>, the
potential, reads {reads}. R<sub>E</sub>, the impedance, belongs to the environment: a cell line,
with its assay where one is given. T = {temperature:.3f} is one number for all. One impedance shifts all pairs of an
environment alike, so it cannot change the ranking inside an environment; several can
(<code>impedance.channels</code>), for each pair is exposed to them in its own shares, which its sequences decide.
R<sub>E</sub> moves the pooled ranking, the probabilities, and every decision at a fixed threshold.</p>
<p>AUROC is the chance that a positive pair is ranked above a negative one; AUPR is the mean precision over all levels
of recall. Log-loss is the mean surprise at the labels in nats, Brier the mean squared error of the probability, ECE the
mean distance between probability and observed share, in bins of equal mass. Lower is better for these three.</p>
<p>Numbers called oracle read the labels that they are judged by: what could be had, not what was had.</p>"""
