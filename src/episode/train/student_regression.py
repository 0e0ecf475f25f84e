"""The regression behind the Student in closed form: conjugate posteriors, averaged by their evidence.

``b = alpha + beta shift + gamma . axes + u``: alpha ~ N(0, .5^2); beta = 0, or normal around 1; gamma ~ N(0, tau^2);
u ~ N(0, sigma^2). What noise the readings keep after shrinkage adds to the variance of a record. Hyperparameters lie
on a grid of 40. Whether beta is 0 is the gate: it follows the evidence of the training lines, never labels at
prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from episode.inference.level_model import LevelModel, Regression, Scaling
from episode.train.student_records import DELTAS, Records

__all__ = ["DRAWS", "NATURAL", "RESAMPLED", "SlopePrior", "fit_level_model", "fit_regression", "fit_scaling"]

Array = NDArray[np.float64]

DRAWS = 100
LEVEL_SD = 0.5
TAU = (0.0, 0.25, 0.5, 1.0)
SIGMA = (0.05, 0.1, 0.2, 0.4, 0.8)
SHIFT_VARIANCE = 0.5
"""Variance of shifts between lines that is held likely before any line was seen; it counts as one line."""
PRIOR_SQUARES = 0.25
VARIANCE_FLOOR = 0.02
MOVE_SD = 0.35
"""Spread of the training lines' log-odds of prevalence at which a move outside it has probability one half."""
TINY = 1e-12


@dataclass(frozen=True)
class SlopePrior:
    """Prior of beta: 0 with probability `null`, else N(1, sd^2)."""

    null: float
    sd: float


NATURAL = SlopePrior(null=0.8, sd=1.0)
RESAMPLED = SlopePrior(null=0.5, sd=0.5)


def fit_scaling(shift: Array, shift_se: Array, axes: Array, axes_se: Array) -> Scaling:
    """Measure means, ranges and signal variances of readings.

    Parameters
    ----------
    shift : ndarray, shape (..., n)
        n >= 2.
    shift_se : ndarray, shape (n,)
    axes : ndarray, shape (..., n, K)
    axes_se : ndarray, shape (n, K)
    """
    lines = shift.shape[-1]
    shift_mean, axes_mean = shift.mean(axis=-1), axes.mean(axis=-2)
    distance, axes_distance = shift - shift_mean[..., None], axes - axes_mean[..., None, :]
    noise, axes_noise = np.mean(shift_se**2), np.mean(axes_se**2, axis=0)
    squares = (distance**2).sum(axis=-1)
    total = (axes_distance**2).sum(axis=-2) / (lines - 1)
    return Scaling(
        shift_mean=shift_mean,
        shift_signal=np.maximum((squares + SHIFT_VARIANCE + noise) / lines - noise, 0.3 * squares / lines + 1e-4),
        shift_range=np.abs(distance).max(axis=-1),
        axes_mean=axes_mean,
        axes_signal=np.maximum(total - axes_noise, 1e-3 * total + TINY),
        axes_range=np.abs(axes_distance).max(axis=-2),
        axes_reliability=np.clip(1 - axes_noise / (total + TINY), 0, 1),
    )


def fit_regression(
    level: Array,
    level_se: Array,
    shift: Array,
    shift_se: Array,
    axes: Array,
    axes_se: Array,
    *,
    prior: SlopePrior,
) -> Regression:
    """Fit the mixture of posteriors, for several sets of records at once.

    Parameters
    ----------
    level, shift : ndarray, shape (..., n)
        n >= 2; the leading axes are independent fits.
    level_se, shift_se : ndarray, shape (n,)
    axes : ndarray, shape (..., n, K)
    axes_se : ndarray, shape (n, K)
    prior : SlopePrior
    """
    scaling = fit_scaling(shift, shift_se, axes, axes_se)
    rows, noise = scaling.regressors(shift, shift_se, axes, axes_se)
    mean, variance, sigma, log_prior = _grid(prior, axes.shape[-1])
    own = level_se**2 + sigma[:, None] ** 2 + np.swapaxes(noise @ (mean**2 + variance).T, -1, -2)
    residual = level[..., None, :] - np.swapaxes(rows @ mean.T, -1, -2)
    scaled = np.swapaxes(rows, -1, -2)[..., None, :, :] / own[..., None, :]
    root = np.sqrt(variance)
    inner = np.eye(rows.shape[-1]) + root[:, :, None] * (scaled @ rows[..., None, :, :]) * root[:, None, :]
    pull = root * (scaled @ residual[..., None])[..., 0]
    inverse = np.linalg.inv(inner)
    solved = (inverse @ pull[..., None])[..., 0]
    squares = (residual**2 / own).sum(axis=-1) - (pull * solved).sum(axis=-1)
    evidence = -0.5 * (squares + np.log(own).sum(axis=-1) + np.linalg.slogdet(inner)[1]) + log_prior
    weight = np.exp(evidence - evidence.max(axis=-1, keepdims=True))
    weight /= weight.sum(axis=-1, keepdims=True)
    posterior = mean + root * solved
    within = root[:, :, None] * inverse * root[:, None, :]
    coefficient = (weight[..., None] * posterior).sum(axis=-2)
    apart = posterior - coefficient[..., None, :]
    spread = within + apart[..., :, None] * apart[..., None, :]
    return Regression(
        scaling=scaling,
        coefficient=coefficient,
        covariance=(weight[..., None, None] * spread).sum(axis=-3),
        residual=weight @ sigma**2,
        gate=weight @ (mean[:, 1] != 0),
    )


def fit_level_model(records: Records, rng: np.random.Generator) -> LevelModel | None:
    """Fit both forecasts of a level; None with fewer than 2 records.

    Parameters
    ----------
    records : Records
        Sorted by environment, so that the draws depend on the names alone.
    rng : numpy.random.Generator
        Draws which line is read at which of `DELTAS`: one a line and draw, evenly used.
    """
    lines = len(records.environment)
    if lines < 2:
        return None
    level_se, shift_se, axes_se = records.level_se, records.shift_se, records.axes_se
    natural = fit_regression(records.level, level_se, records.shift, shift_se, records.axes, axes_se, prior=NATURAL)
    drawn = np.stack([_one_delta_a_line(lines, rng) for _ in range(DRAWS)])
    line = np.arange(lines)
    resampled = fit_regression(
        records.level + DELTAS[drawn] * records.resampled,
        level_se,
        records.shift + records.shift_moved[line, drawn],
        shift_se,
        records.axes + records.axes_moved[line, drawn],
        axes_se,
        prior=RESAMPLED,
    )
    shift_mean = float(records.shift.mean())
    squares = float(((records.shift - shift_mean) ** 2).sum())
    slopes = records.shift_moved[records.resampled] @ DELTAS / (DELTAS @ DELTAS)
    moves = max(0.0, float(records.prevalence_log_odds.var(ddof=1) - records.prevalence_variance.mean()))
    return LevelModel(
        lines=lines,
        natural=natural,
        resampled=resampled,
        shift_mean=shift_mean,
        shift_variance=max((squares + PRIOR_SQUARES) / lines - float(np.mean(shift_se**2)), VARIANCE_FLOOR),
        transfer=float(np.median(slopes)) if len(slopes) else 0.0,
        outside_prior=1 / (1 + moves / MOVE_SD**2) if len(slopes) else 0.0,
    )


def _grid(prior: SlopePrior, axes: int) -> tuple[Array, Array, Array, Array]:
    """Prior mean (m, 2 + K) and variance (m, 2 + K) of the coefficients, sigma (m,), log prior weight (m,)."""
    points = list(product(((0.0, 0.0, prior.null), (1.0, prior.sd, 1 - prior.null)), TAU, SIGMA))
    mean = np.array([[0.0, centre, *[0.0] * axes] for (centre, _, _), _, _ in points])
    variance = np.array([[LEVEL_SD**2, sd**2, *[tau**2] * axes] for (_, sd, _), tau, _ in points])
    sigma = np.array([sigma for _, _, sigma in points])
    return mean, variance, sigma, np.log([probability for (_, _, probability), _, _ in points])


def _one_delta_a_line(lines: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Index in `DELTAS` for each line, each used equally often up to one."""
    order, delta = rng.permutation(lines), rng.permutation(len(DELTAS))
    drawn = np.zeros(lines, dtype=np.int64)
    drawn[order] = delta[np.arange(lines) % len(DELTAS)]
    return drawn
