"""The content of ``metrics.json``: the numbers of one evaluated run.

Types only. What is not defined is None; nothing was chosen after looking at labels, except under the name *oracle*.
This module does NOT know how the numbers are made (see `episode.evaluate.summary`).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_serializer,
)

from episode.data.pairs import Source
from episode.evaluate.figures import Impedances, RunAlarm
from episode.inference.closed_form import View
from episode.metrics.intervals import ByMetric, Difference, Estimate, Resampling
from episode.metrics.metrics import Metrics, Numbers
from episode.schema import Model, absent

__all__ = [
    "EnvironmentSummary",
    "EvaluationIntervals",
    "EvaluationProvenance",
    "EvaluationResults",
    "MacroSummary",
    "MeanImpedance",
    "OracleSummary",
    "ScopeEstimates",
    "StudentSummary",
    "Summary",
    "TruthSummary",
]

T = TypeVar("T")
OrEmpty = Annotated[
    T | None,
    BeforeValidator(lambda content: None if content == {} else content),
    WrapSerializer(lambda content, write: {} if content is None else write(content)),
]
"""A part of the file that is ``{}`` where there is nothing to put in it."""
ALIASES = {"genome_sha256": "genome SHA-256"}


class _Environments(Model):
    environments: int


class MacroSummary(Numbers, _Environments):
    """Means over the environments in which a number is defined; the numbers are those of `EnvironmentSummary`."""


class EnvironmentSummary(Impedances, Metrics):
    """Numbers of the labelled pairs of one environment, and its impedances."""

    collapsed: bool | None
    """The call at 0.5 is (nearly) constant."""
    support_size: int
    warnings: str
    r_oracle: float | None
    """Mean impedance that the labels call for."""
    r_true: float | None = None
    """Impedance of a simulated environment, units of the simulated potential."""
    aupr_bayes: float | None = None
    """Average precision by the log-odds that drew the labels of a simulated environment."""

    @model_serializer(mode="wrap")
    def _without_truth(self, write: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """Leave out what only a simulated environment has."""
        content: dict[str, JsonValue] = write(self)
        if self.r_true is None:
            del content["r_true"], content["aupr_bayes"]
        return content


class OracleSummary(Model):
    """What impedances that are read from the labels would give."""

    aupr: float | None
    log_loss: float | None
    gain_share: float | None
    """What the correction adds to the pooled AUPR of the potential, as a fraction of what the oracle adds."""
    interval_coverage: float | None
    """Fraction of environments whose 90 % interval of R_S covers the oracle."""
    spearman_impedance: float | None


class MeanImpedance(Model):
    """The baseline that knows nothing of the environment: the training mean everywhere."""

    impedance: float | None
    log_loss: float | None
    ece: float | None


class TruthSummary(Model):
    """Numbers against the truth of a simulated world."""

    spearman_impedance: float | None
    aupr_pooled_oracle_impedance: float | None
    oracle_gain_share: float | None
    interval_coverage: float | None
    aupr_bayes_pooled: float | None
    aupr_bayes_macro: float | None
    macro_aupr_over_bayes: float | None
    log_loss_bayes: float | None
    log_loss_mean_impedance: float | None


class Summary(Model):
    """What predictions and labels alone say."""

    temperature: float
    """T of the model, > 0."""
    environments: dict[str, EnvironmentSummary]
    macro: MacroSummary
    pooled: Metrics
    """Of all labelled pairs together."""
    oracle: OracleSummary
    mean_impedance: MeanImpedance
    truth: TruthSummary | None = Field(default=None, exclude_if=absent)
    """Only of a simulated world."""


class StudentSummary(Model):
    """Which Student read R_S, and whose potential was averaged."""

    kind: Literal["network", "closed_form"]
    members: int
    """Of the run; more than one where it is cross-fitted."""
    views: dict[str, View]
    """By environment, whether it was read as training pairs are at loci that training has seen ("shared") or at new
    ones, as it always is by one member; empty for the network."""
    nothing_transfers: list[View]
    """Views in which scores rank nothing in cell lines that were left out."""

    def count(self, view: View) -> int:
        """Number of environments with a view."""
        return sum(found == view for found in self.views.values())


class ScopeEstimates(Model):
    """Numbers with intervals over environments and over all pairs together."""

    macro: ByMetric[Estimate]
    pooled: ByMetric[Estimate]


class EvaluationIntervals(Resampling):
    """Intervals by resampling blocks of the genome."""

    block_bp: int
    macro: ByMetric[Estimate]
    """Of the impedance used, as `pooled` and `environments` are."""
    pooled: ByMetric[Estimate]
    environments: dict[str, ByMetric[Estimate]]
    mean_impedance: OrEmpty[ScopeEstimates]
    """Of U_I with the training mean everywhere; None without one."""
    gain: OrEmpty[Difference]
    """The impedance used less the training mean, paired."""


class EvaluationProvenance(Model):
    """What the numbers were made from; the file has blanks in its keys."""

    model_config = ConfigDict(
        alias_generator=lambda name: ALIASES.get(name, name.replace("_", " ")), validate_by_name=True
    )

    episode: str
    python: str
    time: str
    seed: int
    training_seed: int
    training_versions: dict[str, str]
    training_environments: int
    training_sources: list[Source]
    calibration_slope_left: float | None
    """Calibration slope on the validation environments after the temperature was fitted."""
    genome_sha256: str | None
    sources: list[Source]
    config: dict[str, JsonValue]
    """Configuration of the run, as the version of EPIsode that trained it wrote it."""


class EvaluationResults(Summary):
    """The content of ``metrics.json``."""

    format_version: Literal[1] = 1
    intervals: OrEmpty[EvaluationIntervals]
    """None where no pair is labelled."""
    provenance: EvaluationProvenance
    student: StudentSummary | None = Field(default=None, exclude_if=absent)
    """Files of older versions lack it, and are of the network."""
    training_alarms: list[RunAlarm] | None = Field(default=None, exclude_if=absent)
    """Of the run that was evaluated; files of older versions may lack them."""

    @property
    def labelled(self) -> bool:
        """Whether any pair is labelled."""
        return self.pooled.n > 0

    @property
    def reads_distance(self) -> bool:
        """Whether U_I of the run reads the distance beside the two sequences."""
        return bool(self._setting("potential", "distance"))

    @property
    def closed_form(self) -> bool:
        """Whether R_S was read in closed form, so that potentials and impedances are in log-odds."""
        return self.student is not None and self.student.kind == "closed_form"

    @property
    def members(self) -> int:
        """Members whose potential was averaged."""
        return 1 if self.student is None else self.student.members

    @property
    def channels(self) -> int:
        """Impedances of an environment; a run of an older version says nothing of them and had one."""
        channels = self._setting("impedance", "channels")
        return channels if isinstance(channels, int) else 1

    def _setting(self, section: str, key: str) -> JsonValue:
        """Return a setting of the run; None where the version that trained it did not have it."""
        content = self.provenance.config.get(section)
        return content.get(key) if isinstance(content, dict) else None
