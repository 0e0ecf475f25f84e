"""The impedance of each environment, made once: Student from the support set, Teacher where known, MAP where labelled.

Nothing here looks at a metric, and labels are used in one place only (`map_impedance`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.inference.closed_form import View
from episode.inference.members import Source, score_members
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.scoring import BLOCK
from episode.inference.support import mean_impedance
from episode.model.backbone import PairOutput
from episode.model.energy import fuse
from episode.predict.student import NORMAL_REACH, Prevalence, read_closed_form, read_network, told_impedance
from episode.schema import FloatOrNaN
from episode.seeds import generator

__all__ = [
    "EnvironmentEstimate",
    "deviation",
    "estimate_environment",
    "exposure_of",
    "map_impedance",
    "min_impedance",
    "update_impedance",
]

OUTSIDE = 1.5
"""Distance of a support set from training, in the largest distance within training, that brings a warning."""


@dataclass(frozen=True)
class EnvironmentEstimate:
    """The impedance of one environment, made once and used for every pair of it.

    Parameters
    ----------
    known : bool
        The Teacher knows it.
    student, teacher, used : tuple of float
        R_S, R_T and R_E of each channel; a pair meets their mean, weighted by its exposure. NaN where unknown.
    r_student, r_student_sd : float
        R_S, and its standard deviation over bootstrap supports (loci resampled). Like all that follow it is the mean
        over the support set: with one channel, the impedance of every pair.
    r_student_low, r_student_high : float
        90 % interval of R_S: the Student's error on validation environments, widened where the support is thin.
    r_teacher : float
        R_T; NaN where unknown.
    r_used, r_used_low, r_used_high : float
        R_E, with its 90 % interval: that of a shift common to all pairs of the environment, so neither end of it
        shifts a channel below 0.
    support_size : int
        Pairs in the support set.
    labels : int
        Support labels used by the MAP update; 0 for a label-free estimate.
    warnings : tuple of str
        Where the estimate should not be trusted, in words.
    view : View or None
        Which training pairs the support set resembles: at loci that training has seen, or new ones; None without a
        closed-form Student.
    prevalence : float
        As the user told it, NaN if not; R_E then follows it and not R_S.
    """

    environment: str
    known: bool
    student: tuple[FloatOrNaN, ...]
    teacher: tuple[FloatOrNaN, ...]
    used: tuple[FloatOrNaN, ...]
    r_student: FloatOrNaN
    r_student_sd: FloatOrNaN
    r_student_low: FloatOrNaN
    r_student_high: FloatOrNaN
    r_teacher: FloatOrNaN
    r_used: FloatOrNaN
    r_used_low: FloatOrNaN
    r_used_high: FloatOrNaN
    support_size: int
    labels: int
    warnings: tuple[str, ...]
    view: View | None
    prevalence: FloatOrNaN


def estimate_environment(
    run: Run,
    sources: Sequence[Source],
    support: PairRows,
    name: str,
    *,
    seed: int,
    view: View | None = None,
    told: Prevalence | None = None,
    labelled: tuple[Dataset, ElementStore] | None = None,
) -> EnvironmentEstimate:
    """Estimate the impedance of one environment from its unlabelled pairs.

    Parameters
    ----------
    sources : sequence of ElementStore or ElementCache
        One for each member of the run.
    support : PairRows
        The support set, see `episode.inference.support_sampling`; labels are not read.
    name : str
        Environment name; the Teacher is asked if it knows it.
    seed : int
        Of the bootstrap.
    view : View, optional
        Which training pairs the support set resembles, see `episode.checkpoint.ClosedStudent.view`; needed where the
        run has a closed-form Student.
    told : Prevalence, optional
        Of the environment, in place of what Student and Teacher say.
    labelled : (Dataset, ElementStore), optional
        Labelled pairs; those of the environment then refine the estimate (one-dimensional MAP).
    """
    if run.student is None:
        reading = read_network(run, sources, support, name, generator(seed, "bootstrap"))
    else:
        reading = read_closed_form(run, run.student, sources, support, name, view or "new")
    known = reading.teacher is not None
    teacher, used, used_half = torch.full_like(reading.student, math.nan), reading.student, reading.half_width
    if reading.teacher is not None:
        weight = run.facts.config.environment.fusion_weight
        teacher = reading.teacher
        used = fuse(teacher, reading.student, weight)
        used_half = (1 - weight) * reading.half_width

    def mean(impedance: Tensor) -> float:
        return mean_impedance(run.system, impedance, reading.exposure)

    r_student, r_used = mean(reading.student), mean(used)
    if told is not None:
        r_told, sd = told_impedance(run, told, view)
        used, r_used, used_half = used + (r_told - r_used), r_told, NORMAL_REACH * sd
    channels, student = used.tolist(), reading.student.tolist()
    estimate = EnvironmentEstimate(
        environment=name,
        known=known,
        student=tuple(student),
        teacher=tuple(teacher.tolist()),
        used=tuple(channels),
        r_student=r_student,
        r_student_sd=reading.sd,
        r_student_low=max(min_impedance(student, r_student), r_student - reading.half_width),
        r_student_high=r_student + reading.half_width,
        r_teacher=mean(teacher),
        r_used=r_used,
        r_used_low=max(min_impedance(channels, r_used), r_used - used_half),
        r_used_high=r_used + used_half,
        support_size=len(support),
        labels=0,
        warnings=_warnings(run, len(support), reading.distance),
        view=None if run.student is None else view,
        prevalence=math.nan if told is None else told.mean,
    )
    if labelled is None:
        return estimate
    few, store = labelled
    rows = pair_rows(few.select((few.pairs["environment"] == name) & (few.pairs["label"] >= 0)))
    standardised, output = score_members(run.members, [store] * len(run.members), rows, block=BLOCK)
    ranked = run.potential(standardised, estimate.view) - deviation(estimate, exposure_of(run, output))
    return update_impedance(estimate, ranked, rows.label, run.temperature)


def min_impedance(channels: Sequence[float], mean: float) -> float:
    """Mean R_E below which a common shift would take the smallest channel below 0; 0 with one channel."""
    return max(0.0, mean - min(channels))


@torch.no_grad()
def exposure_of(run: Run, output: PairOutput) -> np.ndarray:
    """Exposure of scored pairs to the channels, shape (n, K), float64: rows sum to 1."""
    return run.system.exposure(output.representation).double().cpu().numpy()


def deviation(estimate: EnvironmentEstimate, exposure: np.ndarray) -> np.ndarray:
    """Deviation of each pair's R_E from `r_used`, shape (n,); 0 with one channel.

    Parameters
    ----------
    exposure : ndarray, shape (n, K)
        See `exposure_of`.
    """
    return exposure @ np.array(estimate.used) - estimate.r_used


def update_impedance(
    estimate: EnvironmentEstimate, ranked: np.ndarray, label: np.ndarray, temperature: float
) -> EnvironmentEstimate:
    """Update an estimate with labelled pairs that are scored already: all channels shift alike.

    Parameters
    ----------
    estimate : EnvironmentEstimate
        Label-free: it is the prior, so labels are used once.
    ranked : ndarray, shape (n,)
        U_I with the offset, less the `deviation` of each pair.
    label : ndarray, shape (n,)
        1 or 0; without any the estimate stays as it is.
    """
    if not len(label):
        return estimate
    prior_sd = (estimate.r_used_high - estimate.r_used) / NORMAL_REACH
    lowest = min_impedance(estimate.used, estimate.r_used)
    used, sd = map_impedance(ranked, label, temperature, prior=estimate.r_used, prior_sd=prior_sd, lowest=lowest)
    return replace(
        estimate,
        used=tuple(value + (used - estimate.r_used) for value in estimate.used),
        r_used=used,
        r_used_low=max(lowest, used - NORMAL_REACH * sd),
        r_used_high=used + NORMAL_REACH * sd,
        labels=len(label),
    )


def map_impedance(
    potential: np.ndarray, label: np.ndarray, temperature: float, *, prior: float, prior_sd: float, lowest: float = 0.0
) -> tuple[float, float]:
    """Maximum a posteriori R_E >= `lowest` under a normal prior, and its Laplace standard deviation.

    Parameters
    ----------
    potential : ndarray, shape (n,)
        U_I.
    label : ndarray, shape (n,)
        1 or 0.
    prior, prior_sd : float
        Mean and standard deviation of the prior, units of U_I; with a deviation of 0 labels change nothing.
    lowest : float
        With a spectrum, what keeps every channel at 0 or above.
    """
    from scipy.optimize import minimize_scalar  # costs every start of a prediction a quarter of a second

    if prior_sd == 0:
        return max(lowest, prior), 0.0
    sign = 2.0 * label.astype(np.float64) - 1.0

    def loss(impedance: float) -> float:
        logit = (potential - impedance) / temperature
        return float(np.logaddexp(0, -sign * logit).sum() + 0.5 * ((impedance - prior) / prior_sd) ** 2)

    reach = prior + 8 * prior_sd + 8 * temperature
    best = float(minimize_scalar(loss, bounds=(lowest, reach), method="bounded", options={"xatol": 1e-6}).x)
    probability = expit((potential - best) / temperature)
    curvature = float((probability * (1 - probability)).sum()) / temperature**2 + 1 / prior_sd**2
    return best, 1 / math.sqrt(curvature)


def _warnings(run: Run, size: int, distance: float) -> tuple[str, ...]:
    domain = run.facts.domain
    found = []
    if size < domain.smallest:
        found.append(f"support of {size} pairs is smaller than any in training ({domain.smallest})")
    if domain.limit is not None and distance > OUTSIDE * domain.limit:
        found.append(
            f"candidate elements differ from those of every training environment "
            f"(distance {distance:.1f}, training up to {domain.limit:.1f})"
        )
    return tuple(found)
