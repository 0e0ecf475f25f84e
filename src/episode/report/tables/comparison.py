"""The tables of a comparison, from ``results.json``."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from episode.report.findings.comparison import best_rivals, correction_row, standing
from episode.report.load import number
from episode.report.methods import GROUPS, METRICS, TITLES, group_of, meaning, ordered
from episode.report.tables import Cell, count, difference_cell, figure, interval, rich, share, table, text

__all__ = [
    "audit_table",
    "by_environment_tables",
    "difference_table",
    "environment_table",
    "headline_table",
    "level_table",
    "notes",
    "seed_table",
    "subset_tables",
]

Column = tuple[str, str]
"""Level and metric."""
HEADLINE: tuple[Column, ...] = (("macro", "auroc"), ("macro", "aupr"), ("pooled", "log_loss"), ("pooled", "ece"))
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


def headline_table(results: dict[str, Any], *, warning: str) -> str:
    """Show every row by the numbers that matter most."""
    marks = _marks(results)
    rows = [
        [
            text(row, detail=meaning(row), mark=marks.get(row, ""), starts=starts),
            *(interval(number(results["rows"], row, *column)) for column in HEADLINE),
            _group(row),
            count(results["rows"][row].get("n")),
            count(results["rows"][row].get("seeds")),
        ]
        for row, starts in _grouped(ordered(results["rows"]))
    ]
    return table(
        "All rows. Small: 95 % intervals by resampling blocks of the genome. Mean over environments (macro): ranking, "
        "which one impedance cannot change inside an environment; all pairs together (pooled): probabilities. Lower is "
        "better for log-loss and ECE. Click on a heading to sort, a third time for this order again.",
        ["row", *(_head(column, short=True) for column in HEADLINE), "kind", "pairs", "seeds"],
        rows,
        text_columns=(0, len(HEADLINE) + 1),
        name="rows",
        warning=warning,
    )


def notes(results: dict[str, Any]) -> str:
    """List the notes of rows, numbered as the rows are marked."""
    numbered = _notes(results)
    items = "".join(
        f'<li id="note-{place}">{rich(f"{listing}: {note}")}</li>' for place, (note, listing) in numbered.items()
    )
    return f'<ol class="notes">{items}</ol>' if items else ""


def level_table(results: dict[str, Any], level: str, *, warning: str) -> str:
    """Show every metric of every row on one level."""
    return _metric_table(
        results,
        level,
        tuple(METRICS),
        f"Every metric, {WHERE[level]}. Small: 95 % intervals. F1, precision and recall at probability 0.5, and at a "
        "threshold chosen on validation environments (chosen).",
        name=f"rows-{level}",
        warning=warning,
    )


def subset_tables(results: dict[str, Any], *, warning: str) -> str:
    """Show every row on each named subset."""
    return "\n".join(
        _metric_table(
            results,
            name,
            SUBSET,
            f"Subset {name}: {said}. Mean over environments within the subset. Small: 95 % intervals.",
            name=f"subset-{name}",
            warning=warning,
        )
        for name, said in results["protocol"].get("subsets", {}).items()
        if any(name in entry for entry in results["rows"].values())
    )


def environment_table(results: dict[str, Any]) -> str:
    """Show the size of each environment and how the rows of the three sentences do in it."""
    wanted: list[Column] = [("episode.potential", "auroc"), ("episode.potential", "aupr")]
    wanted += [(row, "auroc") for row in best_rivals(results)]
    correction = correction_row(results)
    impedance = [row for row in (correction, "mean_impedance", "em") if row is not None and row in results["rows"]]
    wanted += [(row, "log_loss") for row in impedance]
    rows = [
        [
            text(name),
            count(entry["n"]),
            count(entry["positives"]),
            share(entry["share_positive"]),
            *(interval(number(entry["rows"], row, metric)) for row, metric in wanted),
        ]
        for name, entry in results["environments"].items()
    ]
    return table(
        "Every environment. Chance AUPR is the share of positives; with one class there is no ranking. Small: 95 % "
        "intervals.",
        ["environment", "pairs", "positives", "share", *(f"{row}: {METRICS[metric].name}" for row, metric in wanted)],
        rows,
        name="environments",
    )


def by_environment_tables(results: dict[str, Any], metrics: Sequence[str]) -> str:
    """Show one metric of every row in every environment, a table a metric."""
    names = list(results["environments"])

    def lines(metric: str) -> Iterable[list[Cell]]:
        found = {
            row: [number(results["environments"], name, "rows", row, metric) for name in names]
            for row in ordered(results["rows"])
        }
        kept = [row for row, values in found.items() if any(value.value is not None for value in values)]
        for row, starts in _grouped(kept):
            yield [text(row, starts=starts), *(interval(value) for value in found[row])]

    return "\n".join(
        table(
            f"{METRICS[metric].name} of every row in every environment. Small: 95 % intervals.",
            ["row", *names],
            lines(metric),
            name=f"environments-{metric}",
        )
        for metric in metrics
    )


def difference_table(results: dict[str, Any]) -> str:
    """Show the paired differences."""
    rows = []
    for name, entry in results["differences"].items():
        cells = []
        for level, metric in DIFFERENCES:
            found = number(entry, metric) if level == "macro" else number(entry, level, metric)
            cells.append(difference_cell(found, clear=standing(found, metric) in ("better", "worse")))
        first, _, second = name.partition("-")
        rows.append([text(f"{first} − {second}", order=name), *cells])
    return table(
        "Paired differences. The first row less the second, on the same pairs and the same draws. In bold where the "
        "95 % interval (small) leaves out zero; elsewhere nothing is claimed. Above zero favours the first for AUROC "
        "and AUPR, below zero for log-loss and ECE.",
        ["difference", *(_head(column, short=True) for column in DIFFERENCES)],
        rows,
        name="differences",
    )


def seed_table(results: dict[str, Any]) -> str:
    """Show the spread over seeds of rows that were trained more than once; "" where none was."""
    chosen = [row for row in ordered(results["rows"]) if (results["rows"][row].get("seeds") or 0) > 1]
    keys = ("auroc", "aupr", "log_loss", "ece")
    if not chosen:
        return ""
    return table(
        "Spread over seeds. Standard deviation of the mean over environments between trainings from different seeds.",
        ["row", "seeds", *(METRICS[key].name for key in keys)],
        [
            [
                text(row),
                count(results["rows"][row]["seeds"]),
                *(figure((results["rows"][row].get("spread") or {}).get(key), 4) for key in keys),
            ]
            for row in chosen
        ],
        name="seeds",
    )


def audit_table(results: dict[str, Any], *, warning: str) -> str:
    """Show what of the test rows training has seen, fold by fold."""
    keys = ("enhancer", "promoter", "pair", "locus")
    return table(
        "Leakage audit. Share of test rows whose enhancer, promoter, pair or locus stands in training rows of the "
        "fold.",
        ["fold", "training rows", "test rows", *keys],
        [
            [
                text(str(fold["fold"])),
                count(fold["train"]),
                count(fold["test"]),
                *(share(fold.get(key)) for key in keys),
            ]
            for fold in results["audit"]["folds"]
        ],
        name="audit",
        warning=warning,
    )


def _metric_table(
    results: dict[str, Any], level: str, metrics: Sequence[str], caption: str, *, name: str, warning: str
) -> str:
    shown = [
        metric
        for metric in metrics
        if any(number(results["rows"], row, level, metric).value is not None for row in results["rows"])
    ]
    kept = [
        row
        for row in ordered(results["rows"])
        if any(number(results["rows"], row, level, metric).value is not None for metric in shown)
    ]
    rows = [
        [
            text(row, starts=starts),
            *(interval(number(results["rows"], row, level, metric)) for metric in shown),
            _group(row),
        ]
        for row, starts in _grouped(kept)
    ]
    heads = ["row", *(_head((level, metric), short=False) for metric in shown), "kind"]
    return table(caption, heads, rows, text_columns=(0, len(shown) + 1), name=name, warning=warning)


def _grouped(rows: Sequence[str]) -> list[tuple[str, bool]]:
    """Tell of each row whether a group starts with it."""
    before = [None, *(group_of(row) for row in rows)]
    return [(row, group_of(row) != last) for row, last in zip(rows, before, strict=False)]


def _head(column: Column, *, short: bool) -> str:
    level, metric = column
    about = METRICS[metric]
    unit = f" ({about.unit})" if about.unit else ""
    return f"{level} {about.name}{unit}" if short else f"{about.name}{unit}"


def _group(row: str) -> Cell:
    group = group_of(row)
    place = list(GROUPS).index(group) if group in GROUPS else len(GROUPS)
    return text(TITLES[group], order=f"{place} {TITLES[group]}")


def _notes(results: dict[str, Any]) -> dict[int, tuple[str, str]]:
    """Number the distinct notes; each with the rows that carry it."""
    by_note: dict[str, list[str]] = {}
    for row in ordered(results["rows"]):
        note = results["rows"][row].get("note")
        if note:
            by_note.setdefault(note, []).append(row)
    return {place: (note, ", ".join(rows)) for place, (note, rows) in enumerate(by_note.items(), start=1)}


def _marks(results: dict[str, Any]) -> dict[str, str]:
    return {
        row: f'<sup><a href="#note-{place}" title="{html.escape(note)}">{place}</a></sup>'
        for place, (note, rows) in _notes(results).items()
        for row in rows.split(", ")
    }
