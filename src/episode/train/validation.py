"""Validation episodes: the prediction protocol on environments kept for it, from unlabelled support.

Their labels choose the step and the calibration; test rows never come here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from episode.episodes.batch import Scorer
from episode.episodes.sampler import EnvironmentPool
from episode.episodes.support import bootstrap_sd, student_impedance
from episode.evaluate.metrics import average_precision, oracle_impedance
from episode.losses.immax import immax_loss
from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem

__all__ = ["EnvironmentCheck", "check_environments", "mean_of_known", "student_slope"]


@dataclass(frozen=True)
class EnvironmentCheck:
    """One environment under the prediction protocol.

    Parameters
    ----------
    name : str
    potential, label : ndarray, shape (n,)
        U_I (with the offset, if one is set) and labels of its labelled pairs.
    student : float
        R_S from the unlabelled support.
    oracle : float
        The R_E that minimises log-loss on these labels, given U_I and T; NaN where one class is missing.
    task : float
        IMMAX loss under R_S, in nats; NaN where one class is missing.
    aupr : float
        Average precision of U_I; NaN where one class is missing.
    spread : float
        Bootstrap standard deviation of R_S; 0 where it was not asked for.
    """

    name: str
    potential: np.ndarray
    label: np.ndarray
    student: float
    oracle: float
    task: float
    aupr: float
    spread: float


@torch.no_grad()
def check_environments(
    system: EnergySystem,
    score: Scorer,
    pools: tuple[EnvironmentPool, ...],
    *,
    support_max: int,
    alpha: float,
    bootstrap: np.random.Generator | None = None,
) -> list[EnvironmentCheck]:
    """Estimate and score each environment of `pools`; the support is its first `support_max` rows.

    Give a generator in `bootstrap` to measure the spread of R_S as well.
    """
    checks = []
    temperature = float(system.temperature())
    for pool in pools:
        output = score(pool.rows)
        support = PairOutput(output.potential[:support_max], output.representation[:support_max])
        student = student_impedance(system, support)
        spread = 0.0
        if bootstrap is not None:
            spread = bootstrap_sd(system, support, pool.locus[:support_max], bootstrap)
        potential = (output.potential + system.temperature.offset).cpu()
        known = pool.label >= 0
        label = pool.label[known]
        task = aupr = oracle = float("nan")
        if pool.two_classes:
            logit = (potential[torch.from_numpy(known)] - student) / temperature
            task = float(immax_loss(logit, torch.from_numpy(label > 0), alpha=alpha))
            aupr = _or_nan(average_precision(label, potential.numpy()[known]))
            oracle = _or_nan(oracle_impedance(potential.numpy()[known], label, temperature))
        checks.append(
            EnvironmentCheck(
                name=pool.name,
                potential=potential.numpy()[known],
                label=label,
                student=student,
                oracle=oracle,
                task=task,
                aupr=aupr,
                spread=spread,
            )
        )
    return checks


def student_slope(checks: list[EnvironmentCheck]) -> float:
    """Slope of R_S on the impedance that the labels call for; NaN with fewer than three environments."""
    x = np.array([check.oracle for check in checks])
    y = np.array([check.student for check in checks])
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    if len(x) < 3 or x.std() == 0:
        return float("nan")
    return float(np.cov(x, y, bias=True)[0, 1] / x.var())


def mean_of_known(values: list[float]) -> float:
    """Mean of the finite values; NaN if there are none."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
