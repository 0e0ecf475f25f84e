"""What Student and Teacher say of one environment: read from its support set, by the network or in closed form.

This module does NOT fuse them, and reads no labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import digamma, ndtri, polygamma, stdtrit
from torch import Tensor

from episode.checkpoint import GAUGE, ClosedStudent, Run
from episode.errors import ConfigError
from episode.inference.closed_form import View
from episode.inference.composition import Composition
from episode.inference.element_cache import ElementCache
from episode.inference.members import Source, score_members
from episode.inference.pairs import PairRows
from episode.inference.scoring import BLOCK, score_rows
from episode.inference.support import bootstrap_sd, student_impedance

__all__ = [
    "MAX_SUPPORT",
    "NORMAL_REACH",
    "Prevalence",
    "Reading",
    "half_width",
    "read_closed_form",
    "read_network",
    "support_size",
    "told_impedance",
]

CONFIDENCE = 0.90
NORMAL_REACH = float(ndtri(0.5 + CONFIDENCE / 2))
"""Standard deviations of a normal distribution in half of its interval at `CONFIDENCE`."""
MAX_SUPPORT = 16_384
"""Pairs of a support set that a closed-form Student reads."""


@dataclass(frozen=True)
class Reading:
    """What is known of one environment from its support set.

    Parameters
    ----------
    student, teacher : Tensor, shape (K,)
        R_S and R_T of each channel; no R_T where the Teacher does not know the environment.
    exposure : Tensor, shape (n, K)
        Of the support set.
    sd : float
        Standard deviation of R_S: over bootstrap supports of the network, of its forecast in closed form.
    half_width : float
        Half of the 90 % interval of R_S.
    distance : float
        Of the support set from training, see `episode.checkpoint.Domain`.
    """

    student: Tensor
    teacher: Tensor | None
    exposure: Tensor
    sd: float
    half_width: float
    distance: float


@dataclass(frozen=True)
class Prevalence:
    """Prevalence of an environment as the user knows it: mean and standard deviation of a beta distribution.

    Raises
    ------
    ConfigError
        If there is no such distribution on (0, 1).
    """

    mean: float
    sd: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.mean < 1:
            raise ConfigError(f"--prevalence {self.mean:g}: needed a number between 0 and 1")
        widest = math.sqrt(self.mean * (1 - self.mean))
        if not 0 <= self.sd < widest:
            raise ConfigError(
                f"--prevalence-sd {self.sd:g}: needed a number from 0 to below {widest:.3g}, "
                f"the most that a prevalence of {self.mean:g} can vary"
            )

    @property
    def log_odds(self) -> tuple[float, float]:
        """Mean and standard deviation of its log-odds."""
        if self.sd == 0:
            return _log_odds(self.mean), 0.0
        size = self.mean * (1 - self.mean) / self.sd**2 - 1
        up, down = self.mean * size, (1 - self.mean) * size
        variance = float(polygamma(1, up) + polygamma(1, down))
        return float(digamma(up) - digamma(down)), math.sqrt(variance)


def support_size(run: Run) -> int:
    """Most pairs of a support set that the Student of a run reads."""
    return run.facts.config.episodes.support_max if run.student is None else MAX_SUPPORT


def read_network(
    run: Run, sources: Sequence[Source], support: PairRows, name: str, rng: np.random.Generator
) -> Reading:
    """Read a support set by set encoder and Student head."""
    facts, system = run.facts, run.system
    output = score_rows(system.backbone, sources[0], support)
    student = student_impedance(system, output)
    with torch.no_grad():
        exposure = system.exposure(output.representation)
    sd = bootstrap_sd(system, output, support.locus, rng)
    known = name in facts.environments
    return Reading(
        student=student,
        teacher=system.teacher()[facts.environments.index(name)] if known else None,
        exposure=exposure,
        sd=sd,
        half_width=half_width(run, sd),
        distance=facts.domain.distance(output.representation.double().mean(0).cpu().numpy()),
    )


def half_width(run: Run, sd: float) -> float:
    """Half of the 90 % interval of the network's R_S, in units of U_I.

    The error measured on n validation environments holds the variation of supports of their size; only what the
    bootstrap shows beyond that is added.
    """
    calibration = run.facts.calibration
    extra = max(0.0, sd**2 - calibration.bootstrap_sd**2)
    freedom = max(1, calibration.impedance_environments - 1)
    quantile = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
    return quantile * math.sqrt(calibration.impedance_error**2 + extra)


def read_closed_form(
    run: Run, student: ClosedStudent, sources: Sequence[Source], support: PairRows, name: str, view: View
) -> Reading:
    """Read a support set in closed form, in log-odds.

    R_T of a known environment is the mean over the members that know it of how far it lies from the mean of their
    Teacher's table, in the units of the potential. The table's own level belongs to the loss that the Teacher learned
    by, not to log-odds.
    """
    source = sources[0]
    store = source.store if isinstance(source, ElementCache) else source
    potential, _ = score_members(run.members, sources, support, block=BLOCK)
    composition = Composition(store, run.bank, run.facts.config.stem).pairs(support)
    forecast = student.fitted.forecast(student.fitted.read(view, potential, composition, support.clusters), view)
    deviations = []
    for member in run.members:
        if name in member.environments:
            table = member.system.teacher().mean(1)
            deviations.append(float(table[member.environments.index(name)] - table.mean()) / member.temperature)
    slope = student.fitted.scale(view).slope
    teacher = torch.tensor([max(0.0, GAUGE + slope * float(np.mean(deviations)))]) if deviations else None
    return Reading(
        student=torch.tensor([max(0.0, GAUGE - forecast.level)], dtype=torch.float64),
        teacher=None if teacher is None else teacher.double(),
        exposure=torch.ones(1, 1, dtype=torch.float64),
        sd=forecast.sd,
        half_width=forecast.half_width,
        distance=run.facts.domain.distance(composition.mean(0, dtype=np.float64)),
    )


def told_impedance(run: Run, told: Prevalence, view: View | None) -> tuple[float, float]:
    """R_E that a prevalence calls for, at least 0, and its standard deviation; units of U_I."""
    mean, sd = told.log_odds
    if run.student is None or view is None:
        facts, temperature = run.facts, run.temperature
        level, usual = facts.calibration.training_impedance, facts.train_share
    else:
        temperature, level, usual = 1.0, GAUGE, run.student.fitted.scale(view).prevalence
    return max(0.0, level - temperature * (mean - _log_odds(usual))), temperature * sd


def _log_odds(prevalence: float) -> float:
    return math.log(prevalence) - math.log1p(-prevalence)
