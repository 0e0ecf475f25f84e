"""The content of ``figures.json``: what the figures of a report are drawn from, as plain lists.

Types only, shared by an evaluation and a comparison. This module does NOT know how the numbers are made (see
`episode.evaluate.curves`), nor how a figure looks.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from episode.metrics.intervals import ByMetric, Estimate
from episode.schema import Model, absent

__all__ = [
    "ComparisonFigures",
    "FewLabelPoint",
    "Figures",
    "FoldAlarm",
    "ImpedanceRecord",
    "Impedances",
    "LossSeries",
    "PacingSeries",
    "PotentialHistogram",
    "PrecisionRecall",
    "Reliability",
    "RunAlarm",
    "RunFigures",
    "TrainingSeries",
    "ValidationCheck",
]


class _Columns(Model):
    """Lists of one length."""

    @model_validator(mode="after")
    def _equal(self) -> Self:
        sizes = {name: len(value) for name, value in self if isinstance(value, list)}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"needed lists of one length, got {sizes}")
        return self


class PrecisionRecall(_Columns):
    """Precision against recall: equal lengths, at most 200, recall ascending; ``share`` is the prevalence."""

    recall: list[float]
    precision: list[float]
    share: float


class Reliability(_Columns):
    """Observed against predicted prevalence: means of bins, ascending in probability, and their numbers of pairs."""

    probability: list[float]
    observed: list[float]
    count: list[int]


class PotentialHistogram(Model):
    """Pairs by label in 30 bins of ``(U_I - level) / T``; the 31 edges are dimensionless."""

    edges: list[float]
    positive: list[int]
    negative: list[int]

    @model_validator(mode="after")
    def _one_edge_more(self) -> Self:
        if not len(self.edges) - 1 == len(self.positive) == len(self.negative):
            raise ValueError("needed one edge more than there are bins")
        return self


class Impedances(Model):
    """Estimates of the impedance of one environment, units of U_I; None where unknown."""

    known: bool
    """The Teacher knows the environment."""
    r_student: float | None
    r_student_sd: float | None
    r_student_low: float | None
    r_student_high: float | None
    r_teacher: float | None
    r_used: float | None


class _Place(Model):
    environment: str
    fold: str
    """Which training run these belong to: levels of different training runs are not to be compared."""


class ImpedanceRecord(Impedances, _Place):
    """Impedances of one environment (``r_true``: in units of the simulated potential)."""

    r_oracle: float | None
    r_true: float | None
    support_size: int
    temperature: float | None = Field(default=None, exclude_if=absent)
    """T of the training run; a comparison only, as `level` is."""
    level: float | None = Field(default=None, exclude_if=absent)
    """Constant impedance that the score of "episode.potential" was made with, units of U_I."""


class FewLabelPoint(ByMetric[Estimate]):
    """The pooled numbers of "episode.few_label_<labels>"."""

    labels: int
    """Labels shown of each environment of each fold."""

    @model_serializer(mode="wrap")
    def _labels_first(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"labels": self.labels} | write(self)


class ValidationCheck(Model):
    """One check on the validation environments during training; losses in nats."""

    step: int
    stage: str
    task: float | None
    log_loss: float | None
    aupr: float | None
    slope: float | None
    """Slope of R_S on the impedance that the labels call for."""


class LossSeries(_Columns):
    """A training loss over the steps, nats; means of stretches where it was long."""

    step: list[float]
    value: list[float]


class PacingSeries(_Columns):
    """The competition of one training environment over the steps: pull-in and push-away (nats), and rho_c."""

    step: list[float]
    pull: list[float]
    push: list[float]
    ratio: list[float]


class _TrainingRun(Model):
    fold: str
    seed: int


class TrainingSeries(_TrainingRun):
    """What is drawn of one training log: checks, losses by name, and the competition by environment."""

    validation: list[ValidationCheck]
    losses: dict[str, LossSeries]
    pacing: dict[str, PacingSeries]


class RunAlarm(Model):
    """An alarm that a training run raised on its own validation environments."""

    name: str
    text: str


class RunFigures(Model):
    """What one training run of EPIsode on a fold leaves to be drawn."""

    impedance: list[ImpedanceRecord]
    """Of the test environments."""
    temperature: float
    offset: float
    """Constant in U_I, units of U_I."""
    alarms: list[RunAlarm]
    roles: dict[str, list[str]]
    """Environments by role."""
    training: TrainingSeries
    level: float | None = Field(default=None, exclude_if=absent)
    """Constant impedance that the score of "episode.potential" was made with, units of U_I."""
    prevalence: dict[str, float] | None = Field(default=None, exclude_if=absent)
    """Of each test environment, the prevalence at which that score is calibrated."""


class FoldAlarm(RunAlarm, _TrainingRun):
    """An alarm of one training run of a comparison."""


class Figures(Model):
    """The content of ``figures.json``; curves by method, then by environment (and "pooled")."""

    format_version: Literal[1] = 1
    precision_recall: dict[str, dict[str, PrecisionRecall]] = Field(default_factory=dict)
    reliability: dict[str, dict[str, Reliability]] = Field(default_factory=dict)
    potential: dict[str, PotentialHistogram] = Field(default_factory=dict)
    """By environment."""
    impedance: list[ImpedanceRecord] = Field(default_factory=list)
    few_labels: list[FewLabelPoint] = Field(default_factory=list)
    training: list[TrainingSeries] = Field(default_factory=list)


class ComparisonFigures(Figures):
    """The same of a comparison."""

    alarms: list[FoldAlarm] = Field(default_factory=list)
