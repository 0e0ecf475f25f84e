"""The metrics of a comparison in words, and its methods by group and by metric.

This module does NOT know what a method is called or means (see `episode.compare.methods.registry`), nor how tables and
figures look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from episode.compare.methods.registry import find_method, ordered
from episode.compare.results import ComparisonResults
from episode.metrics.intervals import Estimate

__all__ = ["METRICS", "Metric", "best", "methods_of", "standing"]


@dataclass(frozen=True)
class Metric:
    """A metric in words; `better` is +1 where more is better and -1 where less is."""

    name: str
    better: int
    unit: str = ""

    @property
    def heading(self) -> str:
        """Name with the unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


METRICS = {
    "auroc": Metric("AUROC", 1),
    "aupr": Metric("AUPR", 1),
    "precision_at_recall_70": Metric("precision at recall 0.7", 1),
    "log_loss": Metric("log-loss", -1, "nats"),
    "brier": Metric("Brier", -1),
    "ece": Metric("ECE", -1),
    "f1": Metric("F1 at 0.5", 1),
    "precision": Metric("precision at 0.5", 1),
    "recall": Metric("recall at 0.5", 1),
    "f1_chosen": Metric("F1, chosen", 1),
    "precision_chosen": Metric("precision, chosen", 1),
    "recall_chosen": Metric("recall, chosen", 1),
}


def standing(found: Estimate, metric: str) -> str:
    """Say where a difference stands: "better", "worse", "open" (zero lies in the interval) or "unknown"."""
    if found.low is None or found.high is None:
        return "unknown"
    low, high = (found.low, found.high) if METRICS[metric].better > 0 else (-found.high, -found.low)
    return "better" if low > 0 else "worse" if high < 0 else "open"


def methods_of(results: ComparisonResults, group: str) -> list[str]:
    """Return the methods of a comparison that belong to a group, in the order of the table."""
    return [name for name in ordered(results.methods) if find_method(name).group == group]


def best(results: ComparisonResults, methods: Sequence[str], metric: str) -> str | None:
    """Return the best of some methods by a macro metric, None where none of them has it."""
    values = {method: results.estimate(method, "macro", metric).value for method in methods}
    known = {method: METRICS[metric].better * value for method, value in values.items() if value is not None}
    return max(known, key=lambda method: known[method]) if known else None
