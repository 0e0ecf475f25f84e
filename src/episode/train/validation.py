"""Validation episodes: the prediction protocol on held-out environments or loci, from unlabelled support.

Their labels choose the step, those of held-out loci the calibration; test rows never come here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from episode.episodes.sampler import EnvironmentPool
from episode.inference.scoring import Scorer
from episode.inference.support import bootstrap_sd, mean_impedance, student_impedance
from episode.losses.immax import immax_loss
from episode.metrics.metrics import average_precision, oracle_impedance
from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem
from episode.train.divergence import require_finite
from episode.train.student_fit import LINE_ROWS

__all__ = ["EnvironmentCheck", "check_environments", "mean_of_known", "or_nan"]


@dataclass(frozen=True)
class EnvironmentCheck:
    """One environment under the prediction protocol.

    Parameters
    ----------
    potential, label : ndarray, shape (n,)
        U_I (with the offset, if one is set) and labels of its labelled pairs.
    ranked : ndarray, shape (n,)
        U_I less what the R_S of each pair deviates from `student`; U_I itself with one channel.
    student : float
        R_S from the unlabelled support, mean over its pairs.
    oracle : float
        What in place of `student` minimises log-loss on these labels, given `ranked` and T; NaN where one class is
        missing.
    task : float
        IMMAX loss under R_S, in nats; NaN where one class is missing.
    aupr, aupr_ranked : float
        Average precision of U_I and of `ranked`; NaN where one class is missing.
    spread : float
        Bootstrap standard deviation of R_S; 0 where it was not asked for.
    """

    name: str
    potential: np.ndarray
    label: np.ndarray
    ranked: np.ndarray
    student: float
    oracle: float
    task: float
    aupr: float
    aupr_ranked: float
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

    Give a generator in `bootstrap` to measure the standard deviation of R_S as well.

    Raises
    ------
    Diverged
        If U_I or R_S is not finite.
    """
    checks = []
    temperature = float(system.temperature())
    for pool in pools:
        output = score(pool.rows)
        support = PairOutput(output.potential[:support_max], output.representation[:support_max])
        channels = student_impedance(system, support)
        student = mean_impedance(system, channels, system.exposure(support.representation))
        require_finite(output.potential, student)
        spread = 0.0
        if bootstrap is not None:
            spread = bootstrap_sd(system, support, pool.locus[:support_max], bootstrap)
        potential = (output.potential + system.temperature.offset).cpu()
        deviation = system.pair_impedance(channels, system.exposure(output.representation)).cpu() - student
        ranked = potential - deviation
        known = pool.label >= 0
        label = pool.label[known]
        task = aupr = aupr_ranked = oracle = float("nan")
        if pool.two_classes:
            logit = (ranked[torch.from_numpy(known)] - student) / temperature
            task = float(immax_loss(logit, torch.from_numpy(label > 0), alpha=alpha))
            aupr = or_nan(average_precision(label, potential.numpy()[known]))
            aupr_ranked = or_nan(average_precision(label, ranked.numpy()[known]))
            oracle = or_nan(oracle_impedance(ranked.numpy()[known], label, temperature))
        checks.append(
            EnvironmentCheck(
                name=pool.name,
                potential=potential.numpy()[known],
                label=label,
                ranked=ranked.numpy()[known],
                student=student,
                oracle=oracle,
                task=task,
                aupr=aupr,
                aupr_ranked=aupr_ranked,
                spread=spread,
            )
        )
    return checks


def mean_of_known(values: list[float], sizes: list[int] | None = None) -> float:
    """Mean of the finite values; NaN if there are none.

    With `sizes`, pairs of each environment, one of n pairs has the weight ``n / (n + 100)``: a small one counts little.
    """
    weights = [1.0] * len(values) if sizes is None else [size / (size + LINE_ROWS) for size in sizes]
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if math.isfinite(value)]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else math.nan


def or_nan(value: float | None) -> float:
    """Return a number, NaN in place of None."""
    return float("nan") if value is None else float(value)
