"""The page of a comparison: which words, tables and figures, in which order."""

from __future__ import annotations

import html
from typing import Any

from episode.figure_style import Drawing
from episode.report.contents import Contents, Section
from episode.report.figures import curves, impedance, ranking, training
from episode.report.findings.cautions import leak
from episode.report.findings.comparison import best_rivals, chance_aupr, correction_row, find_comparison
from episode.report.load import Comparison
from episode.report.methods import best, rows_of
from episode.report.tables import comparison as tables

__all__ = ["comparison_contents"]

POTENTIAL = "episode.potential"


def comparison_contents(material: Comparison) -> Contents:
    """Put the page of a comparison together."""
    results, figures = material.results, material.figures
    warning = "This split leaks." if leak(results) else ""
    inside, over, claimed = _drawn_rows(results)
    subsets = tables.subset_tables(results, warning=warning)
    sections = [
        _section(
            "All rows",
            "all",
            tables.headline_table(results, warning=warning),
            tables.notes(results),
            ranking.rows_by_metric(results, "macro", "auroc", chance=0.5),
            ranking.rows_by_metric(results, "macro", "aupr", chance=chance_aupr(results)),
            ranking.rows_by_metric(results, "pooled", "log_loss"),
            _intervals(results),
        ),
        _section("Differences", "claims", tables.difference_table(results), tables.seed_table(results)),
        _section("Subsets", "subsets", subsets) if subsets else None,
        _section(
            "Environments",
            "places",
            tables.environment_table(results),
            tables.by_environment_tables(results, ("auroc", "aupr", "log_loss")),
            curves.precision_recall_by_environment(figures, inside),
            curves.reliability_by_environment(figures, {row: claimed[row] for row in claimed if row != "oracle"}),
            curves.potential_by_environment(figures),
        ),
        _section(
            "Over all environments",
            "pooled",
            curves.precision_recall_pooled(figures, over),
            curves.reliability_pooled(figures, claimed),
        ),
        _section(
            "Impedance",
            "impedance",
            *(impedance.student_against(figures, reference) for reference in ("r_true", "r_oracle", "r_teacher")),
            impedance.few_labels(figures),
        ),
        _section(
            "Every metric",
            "metrics",
            *(tables.level_table(results, level, warning=warning) for level in ("macro", "pooled")),
        ),
        _section("Leakage audit", "leakage", tables.audit_table(results, warning=warning), _policy(results)),
        _section(
            "Training", "training", training.training(figures), training.pacing(figures), training.competition(figures)
        ),
        _section("How to read this", "how", _how_to_read()),
    ]
    protocol = results["protocol"]
    return Contents(
        title=f"Comparison: {protocol.get('title') or protocol.get('name', '')}",
        lead=protocol.get("sentence", ""),
        findings=find_comparison(material),
        sections=tuple(section for section in sections if section is not None),
        provenance=results["provenance"],
    )


def _section(title: str, anchor: str, *parts: str | Drawing | None) -> Section | None:
    kept = tuple(part for part in parts if part)
    return Section(title, anchor, kept) if kept else None


def _drawn_rows(results: dict[str, Any]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Choose the curves: rankings inside environments, rankings over all, probabilities."""
    rivals = best_rivals(results)[:1]
    shortcut = best(results, rows_of(results, "shortcut"), "auroc")
    correction = correction_row(results)
    others = {row: f"{row} (best sequence rival)" for row in rivals}
    others |= {} if shortcut is None else {shortcut: f"{shortcut} (best shortcut)"}
    corrected = {} if correction is None else {correction: "$U_I$ with $R_S$"}
    level = {"mean_impedance": "mean impedance", "em": "EM", "oracle": "oracle (reads the labels)"}
    return (
        {POTENTIAL: "$U_I$ alone", **others},
        {**corrected, POTENTIAL: "$U_I$ alone", **others},
        {**corrected, **level},
    )


def _intervals(results: dict[str, Any]) -> str:
    found = results["intervals"]
    length = found.get("block_bp")
    block = "" if length is None else f" of {length / 1e6:g} Mb"
    return (
        f"<p>Intervals: {100 * found.get('level', 0.95):g} %, by drawing {found.get('blocks')} blocks{block} of the "
        f"genome with replacement, {found.get('draws'):,} times, the same draws for every row, environment and "
        "difference. Pairs in one block share elements and are drawn together; drawing single pairs would make the "
        "intervals too narrow.</p>"
    )


def _policy(results: dict[str, Any]) -> str:
    audit = results["audit"]
    said = {
        "refuse": "A split that leaks is refused unless it is allowed on request.",
        "audit": "This split comes as its makers made it: it is audited, not refused.",
    }.get(audit.get("policy", ""), f"Policy: {audit.get('policy')}.")
    return f"<p>{html.escape(said)}</p>"


def _how_to_read() -> str:
    return """<p>EPIsode says P(interaction) = sigmoid((U<sub>I</sub> − R<sub>E</sub>) / T). U<sub>I</sub>, the
potential, reads the two DNA sequences only. R<sub>E</sub>, the impedance, belongs to the environment: a cell line,
with its assay where one is given. One impedance shifts all pairs of an environment alike, so it cannot change the
ranking inside an environment: rows that differ in it only have the same macro AUROC and AUPR. Several can
(<code>impedance.channels</code>), for each pair is exposed to them in its own shares, which its sequences decide.
R<sub>E</sub> moves the pooled ranking, the probabilities, and every decision at a fixed threshold.</p>
<p>Macro numbers are means over the environments in which they are defined; pooled numbers are of all pairs together.
AUROC is the chance that a positive pair is ranked above a negative one; AUPR is the mean precision over all levels of
recall. Log-loss is the mean surprise at the labels in nats, Brier the mean squared error of the probability, ECE the
mean distance between probability and observed share, in bins of equal mass. Lower is better for these three.</p>
<p>The row oracle reads the test labels: what could be had, not what was had. Nothing else was chosen on test
rows.</p>"""
