"""The page of a comparison: which words, tables and figures, in which order."""

from __future__ import annotations

from episode.compare.methods.registry import SHORTCUT
from episode.compare.results import ComparisonResults
from episode.report.contents import Contents, Section, Text, make_section, provenance_lines
from episode.report.figures import curves, impedance, ranking, training
from episode.report.findings.cautions import leak, raised
from episode.report.findings.comparison import best_baselines, chance_aupr, correction_method, find_comparison
from episode.report.guide import comparison_guide
from episode.report.load import Comparison
from episode.report.methods import best, methods_of
from episode.report.tables import comparison as tables

__all__ = ["comparison_contents"]

POTENTIAL = "episode.potential"
POLICIES = {
    "refuse": "A split that leaks is refused unless it is allowed on request.",
    "audit": "Under this protocol training and test may share loci: leaks are audited, not refused.",
}


def comparison_contents(comparison: Comparison) -> Contents:
    """Put the page of a comparison together."""
    results, figures = comparison.results, comparison.figures
    warning = "This split leaks." if leak(results.audit) else ""
    inside, over, claimed = _drawn_methods(results)
    sections: list[Section | None] = [
        make_section(
            "All methods",
            "all",
            tables.headline_table(results, warning=warning),
            tables.notes(results),
            ranking.methods_by_metric(results, "macro", "auroc", chance=0.5),
            ranking.methods_by_metric(results, "macro", "aupr", chance=chance_aupr(results)),
            ranking.methods_by_metric(results, "pooled", "log_loss"),
            _intervals(results),
        ),
        make_section(
            "Differences",
            "claims",
            tables.difference_table(results, {name for name, _ in raised(comparison)}),
            tables.seed_table(results),
        ),
        make_section("Subsets", "subsets", *tables.subset_tables(results, warning=warning)),
        make_section(
            "Environments",
            "places",
            tables.environment_table(results),
            *tables.by_environment_tables(results, ("auroc", "aupr", "log_loss")),
            curves.precision_recall_by_environment(figures, inside),
            curves.reliability_by_environment(figures, {name: claimed[name] for name in claimed if name != "oracle"}),
            curves.potential_by_environment(figures),
        ),
        make_section(
            "Over all environments",
            "pooled",
            curves.precision_recall_pooled(figures, over),
            curves.reliability_pooled(figures, claimed),
        ),
        make_section(
            "Impedance",
            "impedance",
            *impedance.student_figures(figures),
            impedance.few_labels(figures),
        ),
        make_section(
            "Every metric",
            "metrics",
            *(tables.scope_table(results, scope, warning=warning) for scope in ("macro", "pooled")),
        ),
        make_section(
            "Leakage audit",
            "leakage",
            tables.audit_table(results.audit, warning=warning),
            Text((POLICIES.get(results.audit.policy, f"Policy: {results.audit.policy}."),)),
        ),
        make_section("Training", "training", *training.training_figures(figures)),
        make_section("How to read this", "how", comparison_guide()),
    ]
    protocol = results.protocol
    return Contents(
        title=f"Comparison: {protocol.title or protocol.name}",
        lead=protocol.sentence,
        findings=find_comparison(comparison),
        sections=tuple(section for section in sections if section is not None),
        provenance=tuple(provenance_lines(results.provenance.model_dump(mode="json", by_alias=True))),
    )


def _drawn_methods(results: ComparisonResults) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Choose the curves: rankings inside environments, rankings over all, probabilities."""
    shortcut = best(results, methods_of(results, SHORTCUT), "auroc")
    correction = correction_method(results)
    potential = {POTENTIAL: "$U_I$ alone"}
    others = {method: f"{method} (best sequence baseline)" for method in best_baselines(results)[:1]}
    others |= {} if shortcut is None else {shortcut: f"{shortcut} (best shortcut)"}
    corrected = {} if correction is None else {correction: "$U_I$ with $R_S$"}
    fixed = {"mean_impedance": "mean impedance", "em": "EM", "oracle": "oracle (reads the labels)"}
    return potential | others, corrected | potential | others, corrected | fixed


def _intervals(results: ComparisonResults) -> Text:
    found = results.intervals
    return Text(
        (
            f"Intervals: {100 * found.level:g} %, by drawing {found.blocks} blocks of {found.block_bp / 1e6:g} Mb of "
            f"the genome with replacement, {found.draws:,} times, the same draws for every method, environment and "
            "difference. Pairs in one block share elements and are drawn together; drawing single pairs would make "
            "the intervals too narrow.",
        )
    )
