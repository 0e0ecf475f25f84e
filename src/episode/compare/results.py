"""The content of ``results.json``: what a comparison found.

Types only: the models are the schema of the file. This module does NOT know how the numbers are made (see
`episode.metrics.intervals` and `episode.compare.run`).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from episode.data.pairs import Source
from episode.evaluate.figures import FoldAlarm
from episode.metrics.intervals import ByMethod, Difference, EnvironmentNumbers, Estimate, MethodNumbers, Resampling
from episode.schema import Model

__all__ = [
    "SEEN",
    "Audit",
    "ComparisonProvenance",
    "ComparisonResults",
    "EnvironmentResults",
    "FoldAudit",
    "FoldBudget",
    "Intervals",
    "MethodResults",
    "ProtocolHeader",
]

SEEN = ("enhancer", "promoter", "pair", "locus")
"""What of a test pair training may have seen."""
ALIASES = {
    "scikit_learn": "scikit-learn",
    "genome_sha256": "genome SHA-256",
    "collapsed": "collapsed to genes",
}


class ProtocolHeader(Model):
    """What a protocol is called, and the subsets that are judged by themselves, in words."""

    name: str
    title: str
    sentence: str
    subsets: dict[str, str]


class FoldBudget(Model):
    """What one fold took of the runner that fills a method, mean over seeds."""

    fold: str
    pairs_drawn: int | None
    """Labelled pairs drawn in the longest training run behind the scores, repeats counted; None where nothing is
    trained."""
    seconds: float
    """Core seconds of the whole job: choosing, calibration and prediction too."""


class MethodResults(MethodNumbers):
    """One method of the table."""

    group: str
    """See `episode.compare.methods.registry`."""
    note: str
    """What a reader must know of the method; may be empty."""
    seconds: float | None
    """Core seconds of all its folds, mean over seeds; None where it follows from another method."""
    budget: list[FoldBudget] = Field(default_factory=list, exclude_if=lambda folds: not folds)
    """Absent where the method follows from another, and in files of older versions."""

    @property
    def pairs_a_fold(self) -> int | None:
        """Pairs drawn in a fold, mean over folds; None where nothing is trained or it is not known."""
        drawn = [fold.pairs_drawn for fold in self.budget if fold.pairs_drawn is not None]
        return round(sum(drawn) / len(drawn)) if drawn else None

    @property
    def seconds_a_fold(self) -> float | None:
        """Core seconds of a fold, mean over folds; None where it is not known."""
        return sum(fold.seconds for fold in self.budget) / len(self.budget) if self.budget else None


class EnvironmentResults(EnvironmentNumbers):
    """One environment, with the numbers of every method inside it."""

    known: bool
    """Labelled pairs of it are learned from in a fold that tests it."""


class Intervals(Resampling):
    """How the intervals were drawn."""

    block_bp: int
    unplaced: int
    """Test pairs without coordinates, whose block is their locus."""


class FoldAudit(Model):
    """Test pairs of a fold that training has seen: fractions of its test pairs by what was seen of them."""

    fold: str
    title: str
    train: int
    test: int
    enhancer: float
    promoter: float
    pair: float
    locus: float

    @property
    def leaks(self) -> bool:
        """Whether training has seen anything of a test pair."""
        return any(getattr(self, key) for key in SEEN)


class Audit(Model):
    """The leaks between training and test pairs of every fold."""

    policy: str
    """Of the protocol: "refuse" or "audit"."""
    allowed: bool
    """A leak was let pass on request."""
    locus_leak: bool
    """Some fold leaks."""
    folds: list[FoldAudit]

    def worst(self) -> dict[str, float]:
        """Return the fraction of test pairs of which training has seen each of `SEEN`, in the worst fold."""
        return {key: max((getattr(fold, key) for fold in self.folds), default=0.0) for key in SEEN}


class ComparisonProvenance(Model):
    """What the numbers were made from; some keys of the file are no names."""

    model_config = ConfigDict(alias_generator=lambda name: ALIASES.get(name, name), validate_by_name=True)

    episode: str
    python: str
    torch: str
    numpy: str
    scikit_learn: str
    lightgbm: str
    started: str
    job_seconds: float
    seeds: list[int]
    sources: list[Source]
    genome_sha256: str | None
    pairs: int
    collapsed: bool
    protocol: dict[str, JsonValue]
    """The protocol, as the version of EPIsode that compared wrote it."""
    config: dict[str, JsonValue]
    """Configuration of EPIsode, likewise."""


class ComparisonResults(Model):
    """The content of ``results.json``."""

    format_version: Literal[1]
    protocol: ProtocolHeader
    methods: ByMethod[MethodResults]
    environments: dict[str, EnvironmentResults]
    differences: dict[str, Difference]
    """By "a-b", the names of two methods."""
    intervals: Intervals
    audit: Audit
    alarms: list[FoldAlarm]
    provenance: ComparisonProvenance

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Every method stands in every environment, every subset in every method and difference."""
        subsets = set(self.protocol.subsets)
        for kind, entries in (("methods", self.methods), ("differences", self.differences)):
            for name, entry in entries.items():
                if set(entry.subsets) != subsets:
                    raise ValueError(f"{kind}.{name} has subsets {sorted(entry.subsets)}, needs {sorted(subsets)}")
        for name, environment in self.environments.items():
            if set(environment.methods) != set(self.methods):
                raise ValueError(f"environments.{name} has other methods than the table")
        return self

    def estimate(self, method: str, scope: str, metric: str) -> Estimate:
        """Return a number of a method: `scope` is "macro", "pooled" or a subset; undefined where absent."""
        return self.methods[method].estimate(scope, metric) if method in self.methods else Estimate()

    def inside(self, environment: str, method: str, metric: str) -> Estimate:
        """Return a number of a method inside an environment; undefined where absent."""
        methods = self.environments[environment].methods
        return methods[method][metric] if method in methods else Estimate()

    def difference(self, first: str, second: str, scope: str, metric: str) -> Estimate:
        """Return first - second, also where the file holds second - first; not defined where it holds neither."""
        if f"{first}-{second}" in self.differences:
            return self.differences[f"{first}-{second}"].estimate(scope, metric)
        if f"{second}-{first}" in self.differences:
            return -self.differences[f"{second}-{first}"].estimate(scope, metric)
        return Estimate()
