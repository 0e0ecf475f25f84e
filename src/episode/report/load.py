"""What a report is made from: the files of one folder, read and checked into typed results.

Nothing here computes or draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from episode.compare.results import ComparisonResults
from episode.errors import EpisodeError
from episode.evaluate.figures import ComparisonFigures, Figures
from episode.evaluate.results import EvaluationResults
from episode.metrics.intervals import ByMetric, Estimate
from episode.schema import Model, read_model

__all__ = ["Comparison", "Evaluation", "load_folder"]

M = TypeVar("M", bound=Model)


class _Scopes(Protocol):
    """What has numbers over environments and over all pairs together."""

    @property
    def macro(self) -> ByMetric[Estimate]: ...

    @property
    def pooled(self) -> ByMetric[Estimate]: ...


@dataclass(frozen=True)
class Evaluation:
    """The content of a folder that ``episode evaluate`` wrote.

    Parameters
    ----------
    results : EvaluationResults
        ``metrics.json``.
    figures : Figures
        ``figures.json``.
    """

    results: EvaluationResults
    figures: Figures

    @property
    def has_intervals(self) -> bool:
        """Whether there are intervals over blocks of the genome."""
        return self.used("macro", "aupr").bounded

    @property
    def potential_reads(self) -> str:
        """What U_I of the evaluated run reads, in words."""
        distance = " and their distance" if self.results.reads_distance else " only"
        return f"the two DNA sequences{distance}"

    def used(self, scope: str, metric: str) -> Estimate:
        """Return a number with the impedance used; `scope` is "macro" or "pooled". Not defined without intervals."""
        return _pick(self.results.intervals, scope, metric)

    def inside(self, environment: str, metric: str) -> Estimate:
        """Return a number with the impedance used inside an environment; not defined without intervals."""
        intervals = self.results.intervals
        found = None if intervals is None else intervals.environments.get(environment)
        return Estimate() if found is None else found[metric]

    def mean_impedance(self, scope: str, metric: str) -> Estimate:
        """Return a number with the training mean everywhere; not defined without intervals."""
        intervals = self.results.intervals
        return _pick(None if intervals is None else intervals.mean_impedance, scope, metric)

    def gain(self, scope: str, metric: str) -> Estimate:
        """Return the number with the impedance used less that with the training mean, paired."""
        intervals = self.results.intervals
        return _pick(None if intervals is None else intervals.gain, scope, metric)


@dataclass(frozen=True)
class Comparison:
    """The content of a folder that ``episode compare`` wrote.

    Parameters
    ----------
    results : ComparisonResults
        ``results.json``.
    figures : ComparisonFigures
        ``figures.json``.
    """

    results: ComparisonResults
    figures: ComparisonFigures


def load_folder(folder: Path) -> Evaluation | Comparison:
    """Read the folder of a comparison (it holds ``results.json``) or of an evaluation (``metrics.json``).

    Raises
    ------
    EpisodeError
        If neither is there, ``figures.json`` is missing, or a file is damaged or lacks a part.
    """
    results, metrics, figures = (folder / f"{name}.json" for name in ("results", "metrics", "figures"))
    if not results.is_file() and not metrics.is_file():
        raise EpisodeError(
            f"{metrics}: no such file, nor results.json beside it; a report needs a folder that 'episode evaluate' or "
            "'episode compare' wrote"
        )
    if not figures.is_file():
        raise EpisodeError(f"{figures}: no such file; run the command that wrote {folder} again")
    if results.is_file():
        author = "episode compare"
        return Comparison(_read(results, ComparisonResults, author), _read(figures, ComparisonFigures, author))
    author = "episode evaluate"
    return Evaluation(_read(metrics, EvaluationResults, author), _read(figures, Figures, author))


def _read(path: Path, kind: type[M], author: str) -> M:
    try:
        return read_model(path, kind, error=EpisodeError)
    except EpisodeError as problem:
        raise EpisodeError(f"{problem}\n{path}: was it written by this version's '{author}'?") from None


def _pick(scopes: _Scopes | None, scope: str, metric: str) -> Estimate:
    if scopes is None:
        return Estimate()
    return (scopes.macro if scope == "macro" else scopes.pooled)[metric]
