"""The metrics of a comparison in words, and its methods by group and by metric.

This module does NOT know what a method is called or means (see `episode.compare.methods.registry`), nor how tables and
figures look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from episode.compare.methods.registry import ORACLE, find_method, ordered
from episode.compare.results import ComparisonResults
from episode.metrics.claims import Ground, Verdict, direction, judge

__all__ = ["METRICS", "Metric", "best", "ground", "judged", "methods_of"]

RANKING = ("auroc", "aupr", "precision_at_recall_70")
"""Metrics that need both classes in an environment."""


@dataclass(frozen=True)
class Metric:
    """A metric in words."""

    name: str
    unit: str = ""

    @property
    def heading(self) -> str:
        """Name with the unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


METRICS = {
    "auroc": Metric("AUROC"),
    "aupr": Metric("AUPR"),
    "precision_at_recall_70": Metric("precision at recall 0.7"),
    "log_loss": Metric("log-loss", "nats"),
    "brier": Metric("Brier"),
    "ece": Metric("ECE"),
    "f1": Metric("F1 at 0.5"),
    "precision": Metric("precision at 0.5"),
    "recall": Metric("recall at 0.5"),
    "f1_chosen": Metric("F1, chosen"),
    "precision_chosen": Metric("precision, chosen"),
    "recall_chosen": Metric("recall, chosen"),
}


def ground(results: ComparisonResults, scope: str, metric: str) -> Ground:
    """Return what a number of a comparison rests on; `scope` is "macro" or "pooled"."""
    entries = results.environments.values()
    flat, best = (results.estimate(name, scope, "log_loss").value for name in ("mean_impedance", ORACLE.name))
    return Ground(
        blocks=results.intervals.blocks,
        draws=results.intervals.draws,
        environments=sum(metric not in RANKING or 0 < entry.positives < entry.n for entry in entries),
        oracle_gain=None if flat is None or best is None else flat - best,
    )


def judged(results: ComparisonResults, first: str, second: str, scope: str, metric: str) -> Verdict:
    """Say how one method of a comparison stands against another."""
    return judge(results.difference(first, second, scope, metric), metric, ground(results, scope, metric))


def methods_of(results: ComparisonResults, group: str) -> list[str]:
    """Return the methods of a comparison that belong to a group, in the order of the table."""
    return [name for name in ordered(results.methods) if find_method(name).group == group]


def best(results: ComparisonResults, methods: Sequence[str], metric: str) -> str | None:
    """Return the best of some methods by a macro metric, None where none of them has it."""
    values = {method: results.estimate(method, "macro", metric).value for method in methods}
    known = {method: direction(metric) * value for method, value in values.items() if value is not None}
    return max(known, key=lambda method: known[method]) if known else None
