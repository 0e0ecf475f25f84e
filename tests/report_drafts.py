"""The files of a report as plain data: changed key by key, then checked and typed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from episode.compare.results import ComparisonResults
from episode.evaluate.figures import ComparisonFigures, Figures
from episode.evaluate.results import EvaluationResults
from episode.metrics.intervals import METRICS
from episode.report.load import Comparison, Evaluation
from episode.schema import parse_model

__all__ = ["ComparisonDraft", "EvaluationDraft"]


@dataclass
class EvaluationDraft:
    """The two files of an evaluation as plain data, to be changed at will."""

    metrics: dict[str, Any]
    figures: dict[str, Any]

    def load(self) -> Evaluation:
        """Check and type the content as it is now."""
        return Evaluation(
            parse_model(self.metrics, EvaluationResults, where="metrics.json"),
            parse_model(self.figures, Figures, where="figures.json"),
        )


@dataclass
class ComparisonDraft:
    """The two files of a comparison as plain data, to be changed at will."""

    results: dict[str, Any]
    figures: dict[str, Any]

    def load(self) -> Comparison:
        """Check and type the content as it is now."""
        return Comparison(
            parse_model(self.results, ComparisonResults, where="results.json"),
            parse_model(self.figures, ComparisonFigures, where="figures.json"),
        )

    def drop_method(self, name: str) -> None:
        """Take a method out of the table and of every environment."""
        for entry in (self.results, *self.results["environments"].values()):
            del entry["methods"][name]

    def put_difference(self, pair: str, scope: str, metric: str, value: Any, low: Any, high: Any) -> None:
        """Set one difference, "macro" or "pooled"; a pair that was not compared before has no others."""
        blank = {metric: {"value": None, "low": None, "high": None} for metric in METRICS}
        subsets = self.results["protocol"]["subsets"]
        entry = self.results["differences"].setdefault(
            pair, copy.deepcopy({**blank, "pooled": blank, **dict.fromkeys(subsets, blank)})
        )
        (entry if scope == "macro" else entry[scope])[metric] = {"value": value, "low": low, "high": high}
