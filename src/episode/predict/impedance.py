"""The impedance of each environment, made once: Student from the support set, Teacher where known, MAP where labelled.

Nothing here looks at a metric, and labels are used in one place only (`map_impedance`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import expit, ndtri, stdtrit

from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.inference.element_cache import ElementCache
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.scoring import score_rows
from episode.inference.support import bootstrap_sd, mean_impedance, student_impedance
from episode.model.backbone import PairOutput
from episode.model.energy import fuse
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
LEVEL = 0.90
NORMAL_REACH = float(ndtri(0.5 + LEVEL / 2))
"""Standard deviations of a normal distribution in half of its interval at `LEVEL`."""


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


def estimate_environment(
    run: Run,
    source: ElementStore | ElementCache,
    support: PairRows,
    name: str,
    *,
    seed: int,
    labelled: tuple[Dataset, ElementStore] | None = None,
) -> EnvironmentEstimate:
    """Estimate the impedance of one environment from its unlabelled pairs.

    Parameters
    ----------
    support : PairRows
        The support set, see `episode.inference.support_sampling`; labels are not read.
    name : str
        Environment name; the Teacher is asked if it knows it.
    seed : int
        Of the bootstrap.
    labelled : (Dataset, ElementStore), optional
        Labelled pairs; those of the environment then refine the estimate (one-dimensional MAP).
    """
    facts, system = run.facts, run.system
    output = score_rows(system.backbone, source, support)
    student = student_impedance(system, output)
    with torch.no_grad():
        exposure = system.exposure(output.representation)
    r_student = mean_impedance(system, student, exposure)
    sd = bootstrap_sd(system, output, support.locus, generator(seed, "bootstrap"))
    half = half_width(run, sd)
    known = name in facts.environments
    teacher, used, used_half = torch.full_like(student, math.nan), student, half
    if known:
        weight = facts.config.environment.fusion_weight
        teacher = system.teacher()[facts.environments.index(name)]
        used = fuse(teacher, student, weight)
        used_half = (1 - weight) * half
    r_used = mean_impedance(system, used, exposure)
    distance = facts.domain.distance(output.representation.double().mean(0).cpu().numpy())
    estimate = EnvironmentEstimate(
        environment=name,
        known=known,
        student=tuple(student.tolist()),
        teacher=tuple(teacher.tolist()),
        used=tuple(used.tolist()),
        r_student=r_student,
        r_student_sd=sd,
        r_student_low=max(min_impedance(student.tolist(), r_student), r_student - half),
        r_student_high=r_student + half,
        r_teacher=mean_impedance(system, teacher, exposure),
        r_used=r_used,
        r_used_low=max(min_impedance(used.tolist(), r_used), r_used - used_half),
        r_used_high=r_used + used_half,
        support_size=len(support),
        labels=0,
        warnings=_warnings(run, len(support), distance),
    )
    if labelled is None:
        return estimate
    few, store = labelled
    rows = pair_rows(few.select((few.pairs["environment"] == name) & (few.pairs["label"] >= 0)))
    output = score_rows(system.backbone, store, rows)
    potential = (output.potential + system.temperature.offset).double().cpu().numpy()
    ranked = potential - deviation(estimate, exposure_of(run, output))
    return update_impedance(estimate, ranked, rows.label, float(system.temperature()))


def min_impedance(channels: Sequence[float], mean: float) -> float:
    """Mean R_E below which a common shift would take the smallest channel below 0; 0 with one channel."""
    return max(0.0, mean - min(channels))


def half_width(run: Run, sd: float) -> float:
    """Half of the 90 % interval of R_S, in units of U_I.

    The error measured on n validation environments holds the variation of supports of their size; only what the
    bootstrap shows beyond that is added.
    """
    calibration = run.facts.calibration
    extra = max(0.0, sd**2 - calibration.bootstrap_sd**2)
    freedom = max(1, calibration.impedance_environments - 1)
    quantile = float(stdtrit(freedom, 0.5 + LEVEL / 2))
    return quantile * math.sqrt(calibration.impedance_error**2 + extra)


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
        Mean and standard deviation of the prior, units of U_I.
    lowest : float
        With a spectrum, what keeps every channel at 0 or above.
    """
    from scipy.optimize import minimize_scalar  # costs every start of a prediction a quarter of a second

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
