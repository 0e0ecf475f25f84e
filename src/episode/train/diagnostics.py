"""What needs attention after a training run: the slope of the Student, thresholds of alarms, alarms as sentences.

Numbers in, sentences out; reports read the slope and the thresholds from here. A collapsed call is defined in
`episode.metrics.metrics.is_collapsed`. This module does NOT know models, files or pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from episode.checkpoint import Alarm
from episode.metrics.metrics import binary_metrics

if TYPE_CHECKING:
    from episode.train.validation import EnvironmentCheck

__all__ = [
    "MIN_SLOPE",
    "NO_SKILL",
    "CompetitionTotals",
    "idle_spectrum",
    "impedance_slope",
    "student_slope",
    "training_alarms",
    "weak_potential",
]

NO_SKILL = 0.5
"""AUROC of a potential that does not rank; an interval that holds it or lies below it is a weak potential."""
MIN_SLOPE = 0.3
"""Slope of R_S on the impedance that the labels call for, below which the Student repeats the mean impedance."""
MIN_IMPEDANCE_SD = 0.1
"""Standard deviation of impedances over environments, in units of T, below which that slope is not judged."""
SHORTCUT_MARGIN = 0.01
"""Lead of the Opportunist over the Student, in nats, above which labels follow shortcut statistics."""
MIN_DEVIATION = 0.05
"""Standard deviation of R_E over the pairs of an environment, in units of T, below which a spectrum does nothing."""


@dataclass(frozen=True)
class CompetitionTotals:
    """What the competition did over the whole training run.

    Parameters
    ----------
    pull_in, push_away : int
        Tasks in which each was above zero.
    tasks : int
        Tasks of training environments.
    lead : float
        Mean of L_S - L_O at the end over training environments, in nats; NaN if never measured.
    """

    pull_in: int
    push_away: int
    tasks: int
    lead: float


def impedance_slope(oracle: ArrayLike, student: ArrayLike, *, temperature: float | None = None) -> float:
    """Slope of R_S on the impedance that the labels call for.

    Parameters
    ----------
    oracle, student : array_like, shape (environments,)
        Environments whose oracle is NaN are left out.
    temperature : float, optional
        T; with it the slope is not judged where the oracle hardly varies (`MIN_IMPEDANCE_SD`).

    Returns
    -------
    float
        NaN with fewer than three environments, and where the oracle does not vary.
    """
    x, y = np.asarray(oracle, dtype=np.float64), np.asarray(student, dtype=np.float64)
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    if len(x) < 3 or x.std() == 0 or (temperature is not None and x.std() / temperature < MIN_IMPEDANCE_SD):
        return math.nan
    return float(np.cov(x, y, bias=True)[0, 1] / x.var())


def student_slope(checks: list[EnvironmentCheck]) -> float:
    """Slope of R_S on the impedance that the labels of environments call for, see `impedance_slope`."""
    return impedance_slope([check.oracle for check in checks], [check.student for check in checks])


def training_alarms(
    checks: list[EnvironmentCheck],
    judged: list[EnvironmentCheck],
    temperature: float,
    teacher: np.ndarray,
    competition: CompetitionTotals,
    *,
    directions: int | None = None,
    judged_on: str = "validation environments",
) -> list[Alarm]:
    """Return the alarms of a finished training run.

    Parameters
    ----------
    checks : list of EnvironmentCheck
        Validation environments.
    judged : list of EnvironmentCheck
        Environments for the slope of the Student: validation and pseudo-OOD ones, or all that were left out.
    teacher : ndarray, shape (environments,)
        Impedances of the training environments that the Student is asked for: R_T, or what their labels call for.
    directions : int, optional
        Directions that the exposure of a spectrum started along; None with one channel.
    judged_on : str
        What `checks` are, in words.
    """
    alarms = []
    for check in checks:
        if binary_metrics(check.label, (check.ranked - check.student) / temperature, check.potential).collapsed:
            text = f"{check.name}: nearly every pair gets the same call at probability 0.5"
            alarms.append(Alarm(name="collapse", text=text))
    slope = student_slope(judged)
    if slope < MIN_SLOPE and np.std(teacher) / temperature >= MIN_IMPEDANCE_SD:
        text = (
            f"the Student moves {slope:.2f} for each unit that the labels call for (below {MIN_SLOPE}): "
            "it repeats the average impedance rather than reading the support set"
        )
        alarms.append(Alarm(name="mean_impedance_student", text=text))
    weak = weak_potential(checks, judged_on)
    if weak:
        alarms.append(weak)
    if competition.tasks and competition.pull_in == 0 and competition.push_away == 0:
        text = f"pull-in and push-away stayed at zero in all {competition.tasks} tasks"
        alarms.append(Alarm(name="idle_competition", text=text))
    idle = None if directions is None else idle_spectrum(checks, temperature, directions)
    if idle:
        alarms.append(idle)
    if math.isfinite(competition.lead) and competition.lead > SHORTCUT_MARGIN:
        text = (
            f"shortcut statistics (GC, length, distance, degree) lower the loss of the Student by "
            f"{competition.lead:.3f} nats on training environments: part of the labels follows them"
        )
        alarms.append(Alarm(name="shortcut_dependence", text=text))
    return alarms


def weak_potential(checks: list[EnvironmentCheck], judged_on: str = "validation environments") -> Alarm | None:
    """Alarm if a 95 % interval of the macro AUROC of U_I over environments holds `NO_SKILL`."""
    judged = [check for check in checks if len(np.unique(check.label)) == 2]
    if not judged:
        text = f"none of the {judged_on} has both classes: the ranking was not judged"
        return Alarm(name="weak_potential", text=text)
    by_potential = [binary_metrics(check.label, check.potential, check.potential) for check in judged]
    auroc = sum(metrics.auroc or 0.0 for metrics in by_potential) / len(judged)
    half = 1.96 * math.sqrt(sum(_auroc_error(check) ** 2 for check in judged)) / len(judged)
    judgement = "the ranking does not differ significantly from chance"
    text = f"macro AUROC {auroc:.3f} +- {half:.3f} on {judged_on}: {judgement}"
    return Alarm(name="weak_potential", text=text) if auroc - half <= NO_SKILL else None


def idle_spectrum(checks: list[EnvironmentCheck], temperature: float, directions: int) -> Alarm | None:
    """Alarm if a spectrum had nothing to start along, or all pairs of an environment meet nearly the same R_E.

    The latter is a mean over validation environments: exposures are even, or channels alike.
    """
    advice = "train with impedance.channels = 1"
    sd = [float(np.std(check.potential - check.ranked)) / temperature for check in checks if len(check.potential)]
    if directions == 0:
        text = (
            "no way in which training environments rank pairs differently showed on both halves of their loci, so "
            f"the impedance channels had nothing to start from and what they hold may be chance; {advice}"
        )
    elif sd and np.mean(sd) < MIN_DEVIATION:
        text = (
            f"R_E differs by {np.mean(sd):.3f} T (SD) between the pairs of a validation environment (below "
            f"{MIN_DEVIATION}): the impedance channels do no more than one would; {advice}"
        )
    else:
        return None
    return Alarm(name="idle_spectrum", text=text)


def _auroc_error(check: EnvironmentCheck) -> float:
    """Standard error of AUROC where nothing is ranked (Mann-Whitney)."""
    positives = int((check.label == 1).sum())
    negatives = len(check.label) - positives
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))
