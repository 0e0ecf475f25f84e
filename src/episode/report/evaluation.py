"""The page of an evaluation: which words, tables and figures, in which order."""

from __future__ import annotations

from episode.report.contents import Contents, Section, make_section, provenance_lines
from episode.report.figures import curves, impedance, ranking, training
from episode.report.findings.evaluation import find_evaluation, lead_sentence
from episode.report.guide import evaluation_guide, student_text, training_text
from episode.report.load import Evaluation
from episode.report.tables.evaluation import environment_table, headline_table, impedance_table

__all__ = ["evaluation_contents"]

USED = {"episode.fused": "with the impedance used"}
ORACLE = {"oracle": "oracle impedance (reads the labels)"}
RANKED = {**USED, "episode.potential": "$U_I$ alone", **ORACLE}
INSIDE = {**USED, "mean_impedance": "training mean everywhere"}
CLAIMED = {**INSIDE, **ORACLE}


def evaluation_contents(evaluation: Evaluation) -> Contents:
    """Put the page of an evaluation together."""
    results, figures = evaluation.results, evaluation.figures
    sections: list[Section | None] = [
        make_section("In short", "short", headline_table(evaluation)),
        make_section(
            "Impedance",
            "impedance",
            student_text(results),
            impedance_table(evaluation),
            *impedance.student_figures(figures),
        ),
        make_section(
            "Ranking",
            "ranking",
            environment_table(evaluation),
            ranking.aupr_by_environment(evaluation),
            curves.precision_recall_pooled(figures, RANKED),
            curves.precision_recall_by_environment(figures, USED),
            curves.potential_by_environment(figures),
        ),
        make_section(
            "Calibration",
            "calibration",
            curves.reliability_pooled(figures, CLAIMED),
            curves.reliability_by_environment(figures, INSIDE),
        ),
        make_section("Training", "training", training_text(results), *training.training_figures(figures)),
        make_section("How to read this", "how", evaluation_guide(evaluation.potential_reads, results)),
    ]
    return Contents(
        title="EPIsode evaluation",
        lead=lead_sentence(results),
        findings=find_evaluation(evaluation),
        sections=tuple(section for section in sections if section is not None),
        provenance=tuple(provenance_lines(results.provenance.model_dump(mode="json", by_alias=True))),
    )
