"""The tables of a comparison, from ``results.json``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from episode.compare.methods.registry import GROUPS, find_method, ordered
from episode.compare.results import SEEN, Audit, ComparisonResults, MethodResults
from episode.metrics.claims import MIN_BLOCKS, MIN_SIZE, ORACLE_SHARE
from episode.report.contents import Notes
from episode.report.findings import verbatim
from episode.report.findings.comparison import best_baselines, claimed, correction_method
from episode.report.methods import METRICS
from episode.report.tables import Cell, Note, Row, Table, count, difference_cell, figure, interval, share, text

__all__ = [
    "audit_table",
    "by_environment_tables",
    "difference_table",
    "environment_table",
    "headline_table",
    "notes",
    "scope_table",
    "seed_table",
    "subset_tables",
]

Column = tuple[str, str]
"""Scope and metric."""
HEADLINE: tuple[Column, ...] = (("macro", "auroc"), ("macro", "aupr"), ("pooled", "log_loss"), ("pooled", "ece"))
BUDGET_HEADS = ("pairs drawn a fold", "core seconds a fold")
BUDGET = (
    "Pairs drawn: in the longest training run behind the scores, repeats counted. Core seconds: of the whole job, "
    "which may fill several methods. "
)
WHERE = {"macro": "mean over environments", "pooled": "all pairs together"}
SUBSET = ("auroc", "aupr", "precision_at_recall_70", "log_loss", "ece")
DIFFERENCES: tuple[Column, ...] = (
    ("macro", "auroc"),
    ("macro", "aupr"),
    ("macro", "log_loss"),
    ("pooled", "aupr"),
    ("pooled", "log_loss"),
    ("pooled", "ece"),
)
SEEDS = ("auroc", "aupr", "log_loss", "ece")


def headline_table(results: ComparisonResults, *, warning: str) -> Table:
    """Show every method by the numbers that matter most."""
    remarks = {method: note for note in _notes(results) for method in note.methods}
    budget = any(entry.budget for entry in results.methods.values())
    return Table(
        "All methods. Small: 95 % intervals by resampling blocks of the genome. Mean over environments (macro): "
        "ranking, which one impedance cannot change inside an environment; all pairs together (pooled): probabilities. "
        "Lower is better for log-loss and ECE. "
        f"{BUDGET if budget else ''}Click on a heading to sort, a third time to restore this order.",
        ("method", *map(_head, HEADLINE), "kind", "pairs", "seeds", *(BUDGET_HEADS if budget else ())),
        tuple(
            (
                text(method, detail=find_method(method).meaning, note=remarks.get(method), starts=starts),
                *(interval(results.estimate(method, *column)) for column in HEADLINE),
                _group(method),
                count(results.methods[method].n),
                count(results.methods[method].seeds),
                *(_budget_cells(results.methods[method]) if budget else ()),
            )
            for method, starts in _grouped(ordered(results.methods))
        ),
        text_columns=(0, len(HEADLINE) + 1),
        name="rows",
        warning=warning,
    )


def notes(results: ComparisonResults) -> Notes | None:
    """List the notes of methods, numbered as the methods are marked."""
    found = _notes(results)
    return Notes(found) if found else None


def scope_table(results: ComparisonResults, scope: str, *, warning: str) -> Table:
    """Show every metric of every method in one scope, "macro" or "pooled"."""
    return _metric_table(
        results,
        scope,
        tuple(METRICS),
        f"Every metric, {WHERE[scope]}. Small: 95 % intervals. F1, precision and recall at probability 0.5, and at a "
        "threshold chosen on validation environments (chosen).",
        name=f"rows-{scope}",
        warning=warning,
    )


def subset_tables(results: ComparisonResults, *, warning: str) -> Iterable[Table]:
    """Show every method on each named subset."""
    if results.methods:
        for name, title in results.protocol.subsets.items():
            yield _metric_table(
                results,
                name,
                SUBSET,
                f"Subset {name}: {title}. Mean over environments within the subset. Small: 95 % intervals.",
                name=f"subset-{name}",
                warning=warning,
            )


def environment_table(results: ComparisonResults) -> Table:
    """Show the size of each environment and how the methods of the findings do in it."""
    correction = correction_method(results)
    impedance = ([] if correction is None else [correction]) + ["mean_impedance", "em"]
    wanted = [
        ("episode.potential", "auroc"),
        ("episode.potential", "aupr"),
        *((method, "auroc") for method in best_baselines(results)),
        *((method, "log_loss") for method in impedance if method in results.methods),
    ]
    return Table(
        "Every environment. Chance AUPR is the prevalence; with one class there is no ranking. Small: 95 % intervals.",
        (
            "environment",
            "pairs",
            "positives",
            "prevalence",
            *(f"{method}: {METRICS[metric].name}" for method, metric in wanted),
        ),
        tuple(
            (
                text(verbatim(name), order=name),
                count(entry.n),
                count(entry.positives),
                share(entry.share_positive),
                *(interval(results.inside(name, method, metric)) for method, metric in wanted),
            )
            for name, entry in results.environments.items()
        ),
        name="environments",
    )


def by_environment_tables(results: ComparisonResults, metrics: Sequence[str]) -> Iterable[Table]:
    """Show one metric of every method in every environment, one table per metric."""
    for metric in metrics:
        found = {
            method: [results.inside(name, method, metric) for name in results.environments]
            for method in ordered(results.methods)
        }
        kept = [method for method, numbers in found.items() if any(number.value is not None for number in numbers)]
        yield Table(
            f"{METRICS[metric].name} of every method in every environment. Small: 95 % intervals.",
            ("method", *map(verbatim, results.environments)),
            tuple((text(method, starts=starts), *map(interval, found[method])) for method, starts in _grouped(kept)),
            name=f"environments-{metric}",
        )


def difference_table(results: ComparisonResults, alarms: Collection[str]) -> Table:
    """Show the paired differences, in bold what is claimed; `alarms` are the names of those on the page."""
    rows: list[Row] = []
    for name, entry in results.differences.items():
        first, _, second = name.partition("-")
        rows.append(
            (
                text(f"{first} − {second}", order=name),
                *(
                    difference_cell(entry.estimate(*column), clear=claimed(results, name, column, alarms))
                    for column in DIFFERENCES
                ),
            )
        )
    return Table(
        "Paired differences. The first method less the second, on the same pairs and the same draws. In bold where it "
        "is a gain or a loss: the 95 % interval (small) leaves out zero, and the difference is of a size that counts "
        f"(AUROC, AUPR and ECE {MIN_SIZE['auroc']:g}; log-loss {MIN_SIZE['log_loss']:g} nats and "
        f"{100 * ORACLE_SHARE:g} % of what the oracle gains), from at least {MIN_BLOCKS} blocks, and no alarm speaks "
        "against a gain. Elsewhere nothing is claimed. Above zero favours the first for AUROC and AUPR, below zero "
        "for log-loss and ECE.",
        ("difference", *map(_head, DIFFERENCES)),
        tuple(rows),
        name="differences",
    )


def seed_table(results: ComparisonResults) -> Table | None:
    """Show the standard deviation over seeds of methods that were trained more than once; None where none was."""
    chosen = [method for method in ordered(results.methods) if results.methods[method].seeds > 1]
    if not chosen:
        return None
    return Table(
        "Standard deviation over seeds. Of the mean over environments, between training runs from different seeds.",
        ("method", "seeds", *(METRICS[metric].name for metric in SEEDS)),
        tuple(
            (
                text(method),
                count(results.methods[method].seeds),
                *(figure(results.methods[method].spread[metric], 4) for metric in SEEDS),
            )
            for method in chosen
        ),
        name="seeds",
    )


def audit_table(audit: Audit, *, warning: str) -> Table:
    """Show what of the test pairs training has seen, fold by fold."""
    return Table(
        "Leakage audit. Fraction of test pairs whose enhancer, promoter, pair or locus is among the training pairs of "
        "the fold.",
        ("fold", "training pairs", "test pairs", *SEEN),
        tuple(
            (text(fold.fold), count(fold.train), count(fold.test), *(share(getattr(fold, key)) for key in SEEN))
            for fold in audit.folds
        ),
        name="audit",
        warning=warning,
    )


def _metric_table(
    results: ComparisonResults, scope: str, metrics: Sequence[str], caption: str, *, name: str, warning: str
) -> Table:
    """Show the metrics that some method has, of the methods that have one."""
    found = {
        method: {metric: results.estimate(method, scope, metric) for metric in metrics}
        for method in ordered(results.methods)
    }
    shown = [metric for metric in metrics if any(numbers[metric].value is not None for numbers in found.values())]
    kept = [method for method, numbers in found.items() if any(numbers[metric].value is not None for metric in shown)]
    return Table(
        caption,
        ("method", *(METRICS[metric].heading for metric in shown), "kind"),
        tuple(
            (
                text(method, starts=starts),
                *(interval(found[method][metric]) for metric in shown),
                _group(method),
            )
            for method, starts in _grouped(kept)
        ),
        text_columns=(0, len(shown) + 1),
        name=name,
        warning=warning,
    )


def _grouped(methods: Sequence[str]) -> list[tuple[str, bool]]:
    """Return each method and whether a group starts with it."""
    groups = [find_method(method).group for method in methods]
    return [(method, group != before) for method, group, before in zip(methods, groups, [None, *groups], strict=False)]


def _budget_cells(method: MethodResults) -> tuple[Cell, Cell]:
    return count(method.pairs_a_fold), figure(method.seconds_a_fold, 0)


def _head(column: Column) -> str:
    scope, metric = column
    return f"{scope} {METRICS[metric].heading}"


def _group(method: str) -> Cell:
    """Make a cell of the group of a method, sorted in the order of the groups."""
    group = find_method(method).group
    return text(GROUPS[group], order=f"{list(GROUPS).index(group)} {GROUPS[group]}")


def _notes(results: ComparisonResults) -> tuple[Note, ...]:
    """Number the distinct notes; each with the methods that carry it."""
    methods_by_note: dict[str, list[str]] = {}
    for method in ordered(results.methods):
        if results.methods[method].note:
            methods_by_note.setdefault(results.methods[method].note, []).append(method)
    return tuple(
        Note(number, note, tuple(methods)) for number, (note, methods) in enumerate(methods_by_note.items(), start=1)
    )
