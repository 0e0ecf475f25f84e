"""Prevalence of an environment from its scores alone, by EM, BBSE or maximum a posteriori.

All three hold the class-conditional distributions fixed and let only the prevalence move; under concept
shift they have nothing to read and find about the training prevalence. They want probabilities that are
calibrated on the training environments, so IMMAX logits of an uncalibrated model go
through `inverse_link` first. EM and BBSE are baselines of the Student, and for pacing. The Student in closed form
reads `map_shift`, which cannot diverge.

NumPy only: this is called inside the training loop. It does not know environments, models or labels of the
target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "SHIFT_SD",
    "SourceScores",
    "bbse_prior",
    "em_prior",
    "inverse_link",
    "log_likelihood_ratio",
    "map_shift",
    "map_shifts",
    "prior_to_impedance",
    "source_scores",
]

PRIOR_FLOOR = 1e-4
PROBABILITY_FLOOR = 1e-12
SHIFT_SD = 1.5
"""Standard deviation of the prior of a shift of the prevalence, in log-odds."""
LARGEST_RATIO = 30.0
"""Bound on the log-likelihood ratio of one pair, in nats."""
SEARCH = np.linspace(-10.0, 10.0, 41)
"""Shifts among which the search for the largest posterior density begins; it may end beyond them."""
SEARCH_END = 50.0
"""Shift, in log-odds, at which every prevalence is 0 or 1 in double precision."""


@dataclass(frozen=True)
class SourceScores:
    """Mean score of each class on labelled source data that the scorer was not fitted to (BBSE's confusion).

    Parameters
    ----------
    positive, negative : float
        Mean over positives and over negatives of the probability (soft), or of the call at `threshold` (hard:
        the true- and false-positive rates).
    threshold : float or None
        None for the soft estimator.
    """

    positive: float
    negative: float
    threshold: float | None = None


def em_prior(probability: ArrayLike, train_prior: float, *, tol: float = 1e-5, max_iter: int = 300) -> float:
    """Estimate the prevalence by expectation maximisation.

    Each step re-weights the probabilities to the current prevalence and takes their mean as the next.

    Parameters
    ----------
    probability : array_like, shape (n,), float
        P(y = 1 | x) as calibrated on data of prevalence `train_prior`; n >= 1.
    train_prior : float
        Prevalence in those data, in (0, 1).
    tol : float
        Stop when the prevalence moves by less.
    max_iter : int
        Stop after this number of steps.

    Returns
    -------
    float
        Kept in [1e-4, 1 - 1e-4], so that its log-odds are finite.

    Raises
    ------
    ValueError
        If there are no scores, or the prior lies outside (0, 1).

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to new a priori probabilities: a
    simple procedure. Neural Computation 14, 2002.
    """
    scores = _scores(probability)
    _check_prior(train_prior)
    source = np.clip(scores, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    # p(x | y=0) / p(x | y=1), by Bayes' rule from the source probability
    against = (1 - source) / source * (train_prior / (1 - train_prior))
    prior = train_prior
    for _ in range(max_iter):
        previous = prior
        prior = float((1 / (1 + against * ((1 - prior) / prior))).mean())
        prior = min(max(prior, PRIOR_FLOOR), 1 - PRIOR_FLOOR)
        if abs(prior - previous) < tol:
            break
    return prior


def log_likelihood_ratio(logit: ArrayLike, prevalence: float) -> NDArray[np.float64]:
    """Log-likelihood ratio ``log p(x | y = 1) / p(x | y = 0)`` of scores that are calibrated where `prevalence` holds.

    Parameters
    ----------
    logit : array_like, shape (n,), float
        Log-odds of label 1.
    prevalence : float
        In (0, 1).

    Returns
    -------
    ndarray, shape (n,), float
        ``logit - logit(prevalence)``, kept within 30 nats.
    """
    _check_prior(prevalence)
    return np.clip(_scores(logit) - _log_odds(prevalence), -LARGEST_RATIO, LARGEST_RATIO)


def map_shift(logit: ArrayLike, prevalence: float, *, weight: ArrayLike | None = None, sd: float = SHIFT_SD) -> float:
    """Estimate how far the prevalence moved, in log-odds, by maximum a posteriori.

    The form of EM with a prior: ``argmax_s sum_i w_i log(1 + pi_s (r_i - 1)) - s^2 / (2 sd^2)``, with likelihood ratios
    ``r_i`` and ``pi_s = sigmoid(logit prevalence + s)``.

    Parameters
    ----------
    logit : array_like, shape (n,), float
        Log-odds of label 1, calibrated where `prevalence` holds; n >= 1.
    prevalence : float
        In (0, 1).
    weight : array_like, shape (n,), float, optional
        At least 0; 1 a row by default.
    sd : float
        Standard deviation of the normal prior of the shift, log-odds; > 0.

    Returns
    -------
    float
        Finite; 0 where every ratio is 1.

    Raises
    ------
    ValueError
        If there are no scores, shapes differ, a score is not a number, a weight is negative or not finite, the
        prevalence lies outside (0, 1), or `sd` is not positive.

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to new a priori probabilities: a
    simple procedure. Neural Computation 14, 2002.
    """
    weights = np.ones(np.shape(logit)) if weight is None else np.asarray(weight, dtype=np.float64)
    return float(map_shifts(logit, prevalence, weights[None], sd=sd)[0])


def map_shifts(logit: ArrayLike, prevalence: float, weights: ArrayLike, *, sd: float = SHIFT_SD) -> NDArray[np.float64]:
    """Estimate `map_shift` of the same scores under several weightings at once.

    Parameters
    ----------
    weights : array_like, shape (m, n), float
        One weighting a row, each at least 0.

    Returns
    -------
    ndarray, shape (m,), float
    """
    excess = np.expm1(log_likelihood_ratio(logit, prevalence))
    weighting = np.asarray(weights, dtype=np.float64)
    if weighting.ndim != 2 or weighting.shape[1:] != excess.shape:
        raise ValueError(f"shapes differ: {excess.size} scores, weights {weighting.shape}")
    if np.isnan(excess).any():
        raise ValueError("a score is not a number")
    if not (np.isfinite(weighting).all() and (weighting >= 0).all()):
        raise ValueError("a weight is negative or not finite")
    if not sd > 0:
        raise ValueError(f"the sd of the prior must be positive, not {sd}")
    base = _log_odds(prevalence)
    density = np.stack([weighting @ np.log1p(_sigmoid(base + shift) * excess) for shift in SEARCH], axis=1)
    best = np.argmax(density - 0.5 * (SEARCH / sd) ** 2, axis=1)
    edges = np.concatenate([[-SEARCH_END], SEARCH, [SEARCH_END]])
    shift, low, high = SEARCH[best], edges[best], edges[best + 2]
    for _ in range(100):
        prior = _sigmoid(base + shift)[:, None]
        pull = prior * (1 - prior) * excess / (1 + prior * excess)
        slope = (weighting * pull).sum(axis=1) - shift / sd**2
        curvature = (weighting * pull * (1 - 2 * prior - pull)).sum(axis=1) - 1 / sd**2
        low, high = np.where(slope > 0, shift, low), np.where(slope > 0, high, shift)
        newton = shift - slope / np.where(curvature < 0, curvature, -1.0)
        inside = (curvature < 0) & (newton >= low) & (newton <= high)
        moved = np.where(inside, newton, (low + high) / 2)
        done = np.abs(moved - shift).max() < 1e-12
        shift = moved
        if done:
            break
    return shift


def source_scores(label: ArrayLike, probability: ArrayLike, *, threshold: float | None = None) -> SourceScores:
    """Measure on labelled source data what `bbse_prior` needs.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 (ignored); both classes present.
    probability : array_like, shape (n,), float
        Scores of the same scorer that will score the target.
    threshold : float or None
        Call a pair positive at or above this score; None keeps the score itself, which loses less.

    Raises
    ------
    ValueError
        If a class is missing, or both classes score the same, so that nothing can be read.
    """
    truth = np.asarray(label)
    scores = _scores(probability, threshold)
    if not ((truth == 1).any() and (truth == 0).any()):
        raise ValueError("the source data must hold both classes")
    positive, negative = float(scores[truth == 1].mean()), float(scores[truth == 0].mean())
    if abs(positive - negative) < 1e-9:
        raise ValueError("both classes of the source data have the same mean score: nothing can be read from it")
    return SourceScores(positive=positive, negative=negative, threshold=threshold)


def bbse_prior(probability: ArrayLike, source: SourceScores) -> float:
    """Estimate the prevalence by black-box shift estimation.

    The mean score is a mixture of the two class means of the source; solve for the mixing fraction.

    Parameters
    ----------
    probability : array_like, shape (n,), float
        Scores on the target, from the scorer that `source` was measured with; n >= 1.
    source : SourceScores
        From `source_scores`.

    Returns
    -------
    float
        Kept in [1e-4, 1 - 1e-4].

    References
    ----------
    Lipton, Wang, Smola. Detecting and correcting for label shift with black box predictors. ICML 2018.
    """
    mean = float(_scores(probability, source.threshold).mean())
    prior = (mean - source.negative) / (source.positive - source.negative)
    return min(max(prior, PRIOR_FLOOR), 1 - PRIOR_FLOOR)


def inverse_link(logit: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """Turn logits that minimise IMMAX into the probability they stand for.

    ``logit p = logit alpha + log sigmoid(2 alpha l) - log sigmoid(-2 (1 - alpha) l)``: the posterior is alpha
    at l = 0, with slope 1 there in log-odds; alpha = 1/2 gives the sigmoid.

    Parameters
    ----------
    logit : array_like, any shape, float
        ``(U_I - R_E) / T``, stable for magnitudes up to 1e4.
    alpha : float
        IMMAX's fraction of the margin given to positives, in (0, 1).

    Returns
    -------
    ndarray, same shape, float
        In [0, 1].
    """
    _check_prior(alpha)
    value = np.asarray(logit, dtype=np.float64)
    log_odds = _log_odds(alpha) - np.logaddexp(0.0, -2 * alpha * value) + np.logaddexp(0.0, 2 * (1 - alpha) * value)
    return _sigmoid(log_odds)


def prior_to_impedance(prior: float, train_prior: float, reference_impedance: float, temperature: float) -> float:
    """Translate a prevalence into the impedance that says the same.

    ``R = R_ref + T (logit train_prior - logit prior)``: fewer positives, more impedance.

    Parameters
    ----------
    prior, train_prior : float
        Prevalence here, and where `reference_impedance` holds; both in (0, 1).
    reference_impedance : float
        Units of ``U_I``.
    temperature : float
        T > 0.

    Returns
    -------
    float
        May be negative; the caller decides whether to hold it at 0.
    """
    _check_prior(prior)
    _check_prior(train_prior)
    return reference_impedance + temperature * (_log_odds(train_prior) - _log_odds(prior))


def _log_odds(prevalence: float) -> float:
    return float(np.log(prevalence) - np.log1p(-prevalence))


def _sigmoid(value: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(value))))


def _check_prior(prevalence: float) -> None:
    if not 0 < prevalence < 1:
        raise ValueError(f"a prevalence must lie strictly between 0 and 1, not {prevalence}")


def _scores(probability: ArrayLike, threshold: float | None = None) -> NDArray[np.float64]:
    scores = np.asarray(probability, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"a one-dimensional array of at least one score is needed, not shape {scores.shape}")
    return scores if threshold is None else (scores >= threshold).astype(np.float64)
