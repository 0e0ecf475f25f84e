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
SHIFT_WINSOR = 3.0
AXES_WINSOR = 1.5
"""Furthest reading of shift and axes, in largest distances of a training line from the mean."""
UNRELATED = 2.0
"""Lines of unrelated readings that are held likely before any line was seen."""
TINY = 1e-12


@dataclass(frozen=True)
class SlopePrior:
    """Prior of beta: 0 with probability `null`, else N(1, sd^2)."""

    null: float
    sd: float


NATURAL = SlopePrior(null=0.8, sd=1.0)
RESAMPLED = SlopePrior(null=0.5, sd=0.5)


def fit_scaling(reading: Array, se: Array) -> Scaling:
    """Measure means, ranges and the covariance of readings between lines.

    Variances are those of the lines less noise; correlations are drawn towards 0 as by `UNRELATED` lines that show
    none.

    Parameters
    ----------
    reading : ndarray, shape (..., n, 1 + K)
        Shift and axes; n >= 2.
    se : ndarray, shape (n, 1 + K)
    """
    lines = reading.shape[-2]
    mean = reading.mean(axis=-2)
    distance = reading - mean[..., None, :]
    noise = np.mean(se**2, axis=0)
    moment = np.swapaxes(distance, -1, -2) @ distance
    squares = np.diagonal(moment, axis1=-2, axis2=-1)
    total = squares / (lines - 1)
    signal = np.maximum(total - noise, 1e-3 * total + TINY)
    with_prior = (squares[..., 0] + SHIFT_VARIANCE + noise[0]) / lines - noise[0]
    signal[..., 0] = np.maximum(with_prior, 0.3 * squares[..., 0] / lines + 1e-4)
    unit = np.sqrt(np.clip(1 - noise / (total + TINY), 0, 1) / (signal + TINY))
    root = np.sqrt(squares + TINY)
    correlation = moment / root[..., :, None] / root[..., None, :] * (lines - 1) / (lines - 1 + UNRELATED)
    one = np.eye(signal.shape[-1])
    correlation = correlation * (1 - one) + one
    winsor = np.full(signal.shape[-1], AXES_WINSOR)
    winsor[0], unit[..., 0] = SHIFT_WINSOR, 1.0
    return Scaling(
        mean=mean,
        limit=winsor * np.abs(distance).max(axis=-2),
        between=correlation * np.sqrt(signal)[..., :, None] * np.sqrt(signal)[..., None, :],
        unit=unit,
    )


def fit_regression(level: Array, level_se: Array, reading: Array, se: Array, *, prior: SlopePrior) -> Regression:
    """Fit the mixture of posteriors, for several sets of records at once.

    Parameters
    ----------
    level : ndarray, shape (..., n)
        n >= 2; the leading axes are independent fits.
    level_se : ndarray, shape (n,)
    reading : ndarray, shape (..., n, 1 + K)
        Shift and axes.
    se : ndarray, shape (n, 1 + K)
    prior : SlopePrior
    """
    scaling = fit_scaling(reading, se)
    rows, noise = scaling.regressors(reading, se)
    mean, variance, sigma, log_prior = _grid(prior, reading.shape[-1] - 1)
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
    reading, se = np.column_stack([records.shift, records.axes]), np.column_stack([records.shift_se, records.axes_se])
    natural = fit_regression(records.level, records.level_se, reading, se, prior=NATURAL)
    drawn = np.stack([_one_delta_a_line(lines, rng) for _ in range(DRAWS)])
    line = np.arange(lines)
    moved = np.concatenate([records.shift_moved[..., None], records.axes_moved], axis=-1)
    resampled = fit_regression(
        records.level + DELTAS[drawn] * records.resampled,
        records.level_se,
        reading + moved[line, drawn],
        se,
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
        shift_variance=max((squares + PRIOR_SQUARES) / lines - float(np.mean(records.shift_se**2)), VARIANCE_FLOOR),
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
