"""Forecast of the level of a cell line from what its support set says: shrunken regressors, mixtures of posteriors.

`Regression` is one such forecast, kept by its moments. `LevelModel` weighs two of them: fitted on the training lines as
they are, and on the same lines at other prevalences. Fitted in `episode.train.student_regression`. Levels and shifts
are in log-odds. This module knows no pairs, scores or files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from episode.metrics.label_shift import SHIFT_SD

__all__ = ["LevelModel", "Regression", "Scaling", "SupportReading"]

Array = NDArray[np.float64]

RELIABILITY_FLOOR = 1e-3
WIDEST = 1e9
"""Largest variance of a reading's noise, in variances between lines."""
MOVES = np.linspace(-5.0, 5.0, 201) * SHIFT_SD
"""Shifts of the prevalence over which the hypothesis of a shift outside training is integrated."""


@dataclass(frozen=True)
class SupportReading:
    """What a support set says without labels.

    Parameters
    ----------
    size : int
        Number of pairs.
    shift : float
        Shift of the prevalence by the scores, see `episode.metrics.label_shift.map_shift`.
    shift_se : float
        Its standard error.
    axes : ndarray, shape (K,)
        Mean composition on the axes.
    axes_se : ndarray, shape (K,)
        Their standard errors; infinite where all pairs lie at one locus.
    """

    size: int
    shift: float
    shift_se: float
    axes: Array
    axes_se: Array

    @property
    def numbers(self) -> tuple[Array, Array]:
        """Shift and axes as one array, and their standard errors, each of shape (1 + K,)."""
        return np.append(self.shift, self.axes), np.append(self.shift_se, self.axes_se)


@dataclass(frozen=True)
class Scaling:
    """How readings become the regressors of a `Regression`: centred, winsorised, and the noise taken out.

    Readings are the shift and the axes, in this order. Each is moved to what is likely by all of them: between training
    lines they go together, so that one that is noisy is told by the others.

    Shapes have the leading axes of the fits, ``...``, none for a single one.

    Parameters
    ----------
    mean, limit : ndarray, shape (..., 1 + K)
        Mean over training lines, and the largest distance from it that is read.
    between : ndarray, shape (..., 1 + K, 1 + K)
        Covariance between lines, without noise.
    unit : ndarray, shape (..., 1 + K)
        Factor of a reading among the regressors.
    """

    mean: Array
    limit: Array
    between: Array
    unit: Array

    def regressors(self, reading: Array, se: Array) -> tuple[Array, Array]:
        """Turn the readings of n lines into regressors.

        Parameters
        ----------
        reading, se : ndarray, shape (..., n, 1 + K) or (n, 1 + K)
            A standard error may be infinite.

        Returns
        -------
        regressors : ndarray, shape (..., n, 2 + K)
            1, then the posterior mean of each reading's distance from `mean`, times `unit`.
        noise : ndarray, shape (..., n, 2 + K)
            Posterior variance of each regressor.
        """
        limit, between = self.limit[..., None, :], self.between[..., None, :, :]
        centred = np.clip(reading - self.mean[..., None, :], -limit, limit)
        signal = np.diagonal(between, axis1=-2, axis2=-1)
        noise = np.minimum(se**2, WIDEST * signal)
        gain = between @ np.linalg.inv(between + noise[..., None] * np.eye(noise.shape[-1]))
        shrunken = (gain @ centred[..., None])[..., 0] * self.unit[..., None, :]
        left = np.maximum(signal - (gain * between).sum(axis=-1), 0) * self.unit[..., None, :] ** 2
        edge = np.zeros((*shrunken.shape[:-1], 1))
        return np.concatenate([edge + 1, shrunken], axis=-1), np.concatenate([edge, left], axis=-1)


@dataclass(frozen=True)
class Regression:
    """Forecast ``b = alpha + beta shift + gamma . axes`` as a mixture of posteriors, kept by its first two moments.

    Shapes have the leading axes of the fits, ``...``, none for a single one.

    Parameters
    ----------
    scaling : Scaling
    coefficient : ndarray, shape (..., 2 + K)
        Mean of (alpha, beta, gamma) over the mixture.
    covariance : ndarray, shape (..., 2 + K, 2 + K)
        Their covariance: within the posteriors and between them.
    residual : ndarray, shape (...)
        Mean variance of a line around the forecast.
    gate : ndarray, shape (...)
        Posterior probability that the shift of the scores moves the level (beta is not 0).
    """

    scaling: Scaling
    coefficient: Array
    covariance: Array
    residual: Array
    gate: Array

    def predict(self, reading: Array, se: Array) -> tuple[Array, Array]:
        """Forecast one line.

        Parameters
        ----------
        reading, se : ndarray, shape (1 + K,)
            See `SupportReading.numbers`.

        Returns
        -------
        mean, variance : ndarray, shape (...)
        """
        rows, noises = self.scaling.regressors(reading[None], se[None])
        row, noise = rows[..., 0, :], noises[..., 0, :]
        spread = np.einsum("...i,...ij,...j->...", row, self.covariance, row)
        squared = self.coefficient**2 + np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return (row * self.coefficient).sum(axis=-1), spread + self.residual + (noise * squared).sum(axis=-1)


@dataclass(frozen=True)
class LevelModel:
    """The two forecasts of a level and the weight between them.

    Parameters
    ----------
    lines : int
        Training lines, n >= 2.
    natural : Regression
        Fitted on the training lines as they are.
    resampled : Regression
        Leading axis: draws. Each is fitted on the training lines at prevalences drawn for it.
    shift_mean : float
        Mean shift of the training lines by their scores.
    shift_variance : float
        Variance of that shift between lines, beyond its noise.
    transfer : float
        What the scores show of a shift of the prevalence: 1 where they show all of it, 0 nothing.
    outside_prior : float
        Prior probability that a line's prevalence moved further than between training lines.
    """

    lines: int
    natural: Regression
    resampled: Regression
    shift_mean: float
    shift_variance: float
    transfer: float
    outside_prior: float

    def predict(self, reading: SupportReading, *, may_move: bool = True) -> tuple[float, float, float]:
        """Forecast one line.

        Parameters
        ----------
        may_move : bool
            Whether a shift of the scores outside training moves the level. Where it does not, it widens the variance as
            far as it would have moved it.

        Returns
        -------
        level, variance, outside : float
            See `Forecast`.
        """
        reliability = max(1 - reading.shift_se**2 / SHIFT_SD**2, RELIABILITY_FLOOR)
        wide_se = reading.shift_se / reliability
        near, near_variance = self.natural.predict(*reading.numbers)
        means, variances = self.resampled.predict(*replace(reading, shift_se=wide_se).numbers)
        far, far_variance = means.mean(), variances.mean() + means.var()
        outside = self.outside(reading.shift, wide_se)
        level = (1 - outside) * near + outside * far if may_move else near
        variance = (1 - outside) * (near_variance + (near - level) ** 2) + outside * (far_variance + (far - level) ** 2)
        return float(level), float(variance), outside

    def outside(self, shift: float, shift_se: float) -> float:
        """Probability that a line's prevalence moved further than between training lines.

        Parameters
        ----------
        shift_se : float
            Standard error free of the prior that `map_shift` adds.
        """
        variance = self.shift_variance * (1 + 1 / self.lines) + shift_se**2
        distance = (shift - self.shift_mean - self.transfer * MOVES) / np.sqrt(variance)
        prior = np.exp(-0.5 * (MOVES / SHIFT_SD) ** 2)
        moved = np.average(_student_t(distance, self.lines), weights=prior)
        stayed = _student_t((shift - self.shift_mean) / np.sqrt(variance), self.lines)
        return float(self.outside_prior * moved / (self.outside_prior * moved + (1 - self.outside_prior) * stayed))


def _student_t(distance: float | Array, freedom: int) -> Array:
    """Density of Student's t, but for a factor that depends on the degrees of freedom alone."""
    return np.asarray((1 + np.asarray(distance) ** 2 / freedom) ** (-(freedom + 1) / 2))
