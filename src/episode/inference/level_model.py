"""Forecast of the level of a cell line from what its support set says: shrunken regressors, mixtures of posteriors.

`Regression` is one such forecast, kept by its moments. `LevelModel` weighs two of them: fitted on the training lines as
they are, and on the same lines at other prevalences. Fitted in `episode.train.student_regression`. Levels and shifts
are in log-odds. This module knows no pairs, scores or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from episode.metrics.label_shift import SHIFT_SD

__all__ = ["LevelModel", "Regression", "Scaling", "SupportReading"]

Array = NDArray[np.float64]

RELIABILITY_FLOOR = 1e-3
SHIFT_WINSOR = 3.0
AXES_WINSOR = 1.5
TINY = 1e-12
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


@dataclass(frozen=True)
class Scaling:
    """How readings become the regressors of a `Regression`: centred, winsorised, shrunken by their reliability.

    Shapes have the leading axes of the fits, ``...``, none for a single one.

    Parameters
    ----------
    shift_mean, shift_signal, shift_range : ndarray, shape (...)
        Mean over training lines, variance without noise, largest distance from the mean.
    axes_mean, axes_signal, axes_range : ndarray, shape (..., K)
        The same of the composition axes.
    axes_reliability : ndarray, shape (..., K)
        Signal variance over total variance between training lines, in [0, 1].
    """

    shift_mean: Array
    shift_signal: Array
    shift_range: Array
    axes_mean: Array
    axes_signal: Array
    axes_range: Array
    axes_reliability: Array

    def regressors(self, shift: Array, shift_se: Array, axes: Array, axes_se: Array) -> tuple[Array, Array]:
        """Turn the readings of n lines into regressors.

        Parameters
        ----------
        shift, shift_se : ndarray, shape (..., n) or (n,)
        axes, axes_se : ndarray, shape (..., n, K) or (n, K)

        Returns
        -------
        regressors : ndarray, shape (..., n, 2 + K)
            1, shrunken shift, shrunken axes over their signal's standard deviation.
        noise : ndarray, shape (..., n, 2 + K)
            Variance that each regressor has left after shrinkage.
        """
        limit = SHIFT_WINSOR * self.shift_range[..., None]
        centred = np.clip(shift - self.shift_mean[..., None], -limit, limit)
        signal = self.shift_signal[..., None]
        keep = signal / (signal + shift_se**2)
        axes_limit = AXES_WINSOR * self.axes_range[..., None, :]
        axes_centred = np.clip(axes - self.axes_mean[..., None, :], -axes_limit, axes_limit)
        axes_signal, reliability = self.axes_signal[..., None, :], self.axes_reliability[..., None, :]
        axes_keep = axes_signal / (axes_signal + axes_se**2)
        unit = np.sqrt(reliability / (axes_signal + TINY))
        shrunken, left = centred * keep, np.broadcast_to(signal * (1 - keep), centred.shape)
        axes_shrunken = axes_centred * axes_keep * unit
        axes_left = np.broadcast_to((1 - axes_keep) * reliability, axes_shrunken.shape)
        one, zero = np.ones((*centred.shape, 1)), np.zeros((*centred.shape, 1))
        return (
            np.concatenate([one, shrunken[..., None], axes_shrunken], axis=-1),
            np.concatenate([zero, left[..., None], axes_left], axis=-1),
        )


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

    def predict(self, shift: float, shift_se: float, axes: Array, axes_se: Array) -> tuple[Array, Array]:
        """Forecast one line.

        Parameters
        ----------
        axes, axes_se : ndarray, shape (K,)

        Returns
        -------
        mean, variance : ndarray, shape (...)
        """
        values = np.array([shift]), np.array([shift_se]), axes[None], axes_se[None]
        rows, noises = self.scaling.regressors(*values)
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

    def predict(self, reading: SupportReading) -> tuple[float, float, float]:
        """Forecast one line.

        Returns
        -------
        level, variance, outside : float
            See `Forecast`.
        """
        reliability = max(1 - reading.shift_se**2 / SHIFT_SD**2, RELIABILITY_FLOOR)
        wide_se = reading.shift_se / reliability
        near, near_variance = self.natural.predict(reading.shift, reading.shift_se, reading.axes, reading.axes_se)
        means, variances = self.resampled.predict(reading.shift, wide_se, reading.axes, reading.axes_se)
        far, far_variance = means.mean(), variances.mean() + means.var()
        outside = self.outside(reading.shift, wide_se)
        level = (1 - outside) * near + outside * far
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
