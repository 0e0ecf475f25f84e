"""How good a set of scores is: pure functions, arrays in, a frozen record out.

Two kinds of numbers are kept apart. Ranking (``aupr_potential``, ``aupr``, ``auroc``) cannot be moved inside
one environment by a scalar impedance; calibration and the decision at probability 0.5 can. Rows whose label
is -1 (unknown) are ignored everywhere. Whatever reads the labels to choose something is called *oracle* by
name.

Everywhere ``label`` is array_like of int, shape (n,): 1, 0, or -1 for unknown. Beside it, array_like of float, shape
(n,): ``score``, anything that ranks; ``logit``, log-odds of label 1; ``probability``, in [0, 1].

This module does not know what an environment, a file or a model is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import brentq, minimize
from scipy.special import expit
from scipy.special import logit as log_odds
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from episode.schema import Model

__all__ = [
    "Calibration",
    "Counts",
    "Metrics",
    "Numbers",
    "ReliabilityCurve",
    "auroc",
    "average_precision",
    "best_f1_threshold",
    "binary_metrics",
    "calibration_line",
    "expected_calibration_error",
    "fit_logistic",
    "is_collapsed",
    "log_loss",
    "oracle_impedance",
    "precision_at_recall",
    "reliability_curve",
]

BINS = 15
ROWS_PER_BIN = 20
COLLAPSE_RECALL = 0.98
"""Recall from which nearly all positives are called; nearly none is up to 1 less this."""
COLLAPSE_MARGIN = 0.02
"""Largest difference of precision from prevalence, and largest fraction of negatives called, of a constant call."""


class Counts(Model):
    """The size of a set of labelled pairs."""

    n: int
    """Labelled pairs."""
    positives: int
    """Pairs with label 1."""


class Numbers(Model):
    """The numbers of a set of labelled pairs, or their means over sets; None where a number is not defined."""

    share_positive: float | None
    """Prevalence."""
    aupr_potential: float | None
    """Average precision by the potential alone."""
    aupr: float | None
    """Average precision by the logit."""
    auroc: float | None
    """Area under the ROC curve by the logit."""
    log_loss: float | None
    """Mean negative log-likelihood, nats, from the logit (never clipped)."""
    brier: float | None
    """Mean squared difference between probability and label."""
    ece: float | None
    """Expected calibration error, see `expected_calibration_error`."""
    f1: float | None
    """F1 of the call ``probability >= 0.5``."""
    precision: float | None
    """Precision of the same call; 0 where nothing is called."""
    recall: float | None
    """Recall of the same call."""
    collapsed: bool | None = Field(default=None, exclude=True)
    """The call at 0.5 is (nearly) constant, see `is_collapsed`; in files for single environments only."""
    calibration_slope: float | None
    """Slope of the logistic recalibration, 1 when calibrated, see `calibration_line`."""
    calibration_intercept: float | None
    """Intercept of the same, 0 when calibrated."""


class Metrics(Numbers, Counts):
    """The numbers of one set of labelled pairs.

    With one class only, ranking, decision and calibration-line numbers are None; log-loss, Brier and ECE remain. With
    no labelled row everything but the counts is None.
    """


@dataclass(frozen=True)
class Calibration:
    """A logistic recalibration ``logit P(y = 1) = intercept + slope * logit``."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class ReliabilityCurve:
    """Predicted against observed prevalence in bins of equal mass.

    Parameters
    ----------
    probability : ndarray, shape (n_bins,), float
        Mean predicted probability in the bin, ascending.
    observed : ndarray, shape (n_bins,), float
        Prevalence in the bin.
    count : ndarray, shape (n_bins,), int
        Rows in the bin, each at least 1.
    """

    probability: NDArray[np.float64]
    observed: NDArray[np.float64]
    count: NDArray[np.int64]


def binary_metrics(label: ArrayLike, logit: ArrayLike, potential: ArrayLike) -> Metrics:
    """Compute every number of one set of pairs.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown.
    logit : array_like, shape (n,), float
        ``(U_I - R_E) / T``.
    potential : array_like, shape (n,), float
        ``U_I``.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If shapes differ, a label is none of -1, 0, 1, or a score of a labelled row is not finite.
    """
    truth, scores, potentials = _labelled(label, logit, potential)
    n, positives, probability = truth.size, int(truth.sum()), expit(scores)
    f1 = precision = recall = collapsed = None
    if 0 < positives < n:
        called = scores >= 0
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, called.astype(np.int8), average="binary", zero_division=0.0
        )
        collapsed = is_collapsed(precision, recall, float(called[truth == 0].mean()), positives / n)
    line = calibration_line(truth, scores)
    return Metrics(
        n=n,
        positives=positives,
        share_positive=positives / n if n else None,
        aupr_potential=average_precision(truth, potentials),
        aupr=average_precision(truth, scores),
        auroc=auroc(truth, scores),
        log_loss=log_loss(truth, scores),
        brier=float(np.mean((probability - truth) ** 2)) if n else None,
        ece=expected_calibration_error(truth, probability),
        f1=f1,
        precision=precision,
        recall=recall,
        collapsed=collapsed,
        calibration_slope=None if line is None else line.slope,
        calibration_intercept=None if line is None else line.intercept,
    )


def is_collapsed(precision: float, recall: float, false_positive_rate: float, prevalence: float) -> bool:
    """Whether a call says nearly the same of every pair.

    Either recall is at least 0.98 with precision within 0.02 of the prevalence (nearly all pairs are called), or recall
    is at most 0.02 with at most 2 % of the negatives called (nearly none is). Where positives are rare the second can
    befall a model whose ranking is good: the threshold is then of no use, which is what this says.
    """
    all_called = recall >= COLLAPSE_RECALL and abs(precision - prevalence) <= COLLAPSE_MARGIN
    none_called = recall <= 1 - COLLAPSE_RECALL and false_positive_rate <= COLLAPSE_MARGIN
    return bool(all_called or none_called)


def average_precision(label: ArrayLike, score: ArrayLike) -> float | None:
    """Average precision (the step-wise area under the precision-recall curve), None with one class only."""
    truth, scores = _labelled(label, score)
    return None if _lacks_a_class(truth) else float(average_precision_score(truth, scores))


def auroc(label: ArrayLike, score: ArrayLike) -> float | None:
    """Area under the ROC curve, None with one class only."""
    truth, scores = _labelled(label, score)
    return None if _lacks_a_class(truth) else float(roc_auc_score(truth, scores))


def precision_at_recall(label: ArrayLike, score: ArrayLike, recall: float = 0.7) -> float | None:
    """Largest precision among the thresholds that reach a recall, None with one class only.

    Parameters
    ----------
    recall : float
        In (0, 1].

    Raises
    ------
    ValueError
        If `recall` lies outside (0, 1].
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall must lie in (0, 1], not {recall}")
    truth, scores = _labelled(label, score)
    if _lacks_a_class(truth):
        return None
    precision, reached, _ = precision_recall_curve(truth, scores)
    return float(precision[reached >= recall].max())


def best_f1_threshold(label: ArrayLike, score: ArrayLike) -> float | None:
    """Find the threshold whose call ``score >= threshold`` has the best F1.

    Reads labels to choose: for validation rows only. On the rows that are reported it would be an oracle.

    Returns
    -------
    float or None
        One of the scores; the highest where several reach the same F1. None with one class only.
    """
    truth, scores = _labelled(label, score)
    if _lacks_a_class(truth):
        return None
    threshold, place = np.unique(-scores, return_inverse=True)
    called = np.cumsum(np.bincount(place))
    hits = np.cumsum(np.bincount(place, truth))
    return float(-threshold[np.argmax(2 * hits / (called + truth.sum()))])


def log_loss(label: ArrayLike, logit: ArrayLike) -> float | None:
    """Mean negative log-likelihood in nats, computed on the logit; None without a labelled row."""
    truth, scores = _labelled(label, logit)
    if truth.size == 0:
        return None
    return float(np.mean(np.logaddexp(0.0, np.where(truth == 1, -scores, scores))))


def expected_calibration_error(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Expected calibration error with adaptive bins of equal mass; None without a labelled row.

    The bins are those of `reliability_curve`; the error is ``sum_b (n_b / n) |mean probability_b -
    prevalence_b|``.
    """
    curve = reliability_curve(label, probability)
    if curve.count.size == 0:
        return None
    return float(np.sum(curve.count * np.abs(curve.probability - curve.observed)) / curve.count.sum())


def reliability_curve(label: ArrayLike, probability: ArrayLike) -> ReliabilityCurve:
    """Divide labelled rows into bins of equal mass by predicted probability.

    There are ``B = min(15, max(1, n // 20))`` bins. A row goes to bin ``floor(B (r + 1/2) / n)``, r its
    0-based rank by probability; rows of equal probability have one mean rank, hence one bin, so the result
    does not depend on row order. Bins left empty by ties are not returned.
    """
    truth, predicted = _labelled(label, probability)
    if predicted.size and (predicted.min() < 0 or predicted.max() > 1):
        raise ValueError("a probability lies outside [0, 1]")
    n = truth.size
    if n == 0:
        return ReliabilityCurve(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
    bins = min(BINS, max(1, n // ROWS_PER_BIN))
    _, tied, ties = np.unique(predicted, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(ties) - (ties + 1) / 2
    place = np.floor(bins * (mean_rank + 0.5) / n).astype(np.int64)[tied]
    count = np.bincount(place, minlength=bins)
    used = count > 0
    return ReliabilityCurve(
        probability=(np.bincount(place, predicted, bins)[used] / count[used]),
        observed=(np.bincount(place, truth, bins)[used] / count[used]),
        count=count[used],
    )


def calibration_line(label: ArrayLike, logit: ArrayLike) -> Calibration | None:
    """Fit ``logit P(y = 1) = intercept + slope * logit`` by maximum likelihood.

    None where the maximum does not exist: one class only, all logits equal, or the classes separated by a
    threshold (in one dimension that is the only way in which a logistic fit diverges).
    """
    truth, scores = _labelled(label, logit)
    if _lacks_a_class(truth):
        return None
    high, low = scores[truth == 1], scores[truth == 0]
    if low.max() <= high.min() or high.max() <= low.min():
        return None
    centre, scale = float(scores.mean()), float(scores.std())
    start = (0.0, float(log_odds(truth.mean())))
    line = fit_logistic((scores - centre) / scale, truth, start=start, tolerance=(0.0, 1e-10))
    slope = line.slope / scale
    return Calibration(slope=slope, intercept=line.intercept - slope * centre)


def fit_logistic(
    score: NDArray[np.float64],
    label: NDArray[np.float64],
    *,
    start: tuple[float, float],
    weight: NDArray[np.float64] | None = None,
    group: NDArray[np.int64] | None = None,
    min_slope: float | None = None,
    tolerance: tuple[float, float] = (2.220446049250313e-9, 1e-5),
) -> Calibration:
    """Fit ``logit P(y = 1) = intercept + slope * score`` by L-BFGS-B; the one logistic fit of a slope.

    Parameters
    ----------
    score : ndarray, shape (n,)
    label : ndarray, shape (n,)
        1 or 0, both present.
    start : tuple of float
        Slope and intercept at which the search begins.
    weight : ndarray, shape (n,), optional
        Positive weight of each row; equal by default.
    group : ndarray, shape (n,), int, optional
        From 0, each with rows of both classes. The slope is that inside groups: each has an intercept of its own while
        it is fitted. The intercept is then that of all rows at this slope.
    min_slope : float, optional
        Smallest slope allowed.
    tolerance : tuple of float
        Relative decrease of the (weighted) mean log-loss, and size of its gradient, at which the search ends.
    """
    sign = 2.0 * label - 1.0
    average = partial(np.average, weights=weight)
    decrease, steepness = tolerance

    def search(
        of: NDArray[np.int64], start: tuple[float, float], slopes: tuple[float | None, float | None]
    ) -> tuple[float, float]:
        inside = [of == number for number in range(int(of.max()) + 1)]

        def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logit = line[0] * score + line[1:][of]
            pull = -sign * expit(-sign * logit)
            gradient = [average(pull * score), *(average(pull * rows) for rows in inside)]
            return float(average(np.logaddexp(0, -sign * logit))), np.array(gradient)

        result = minimize(
            loss,
            np.array([start[0], *[start[1]] * len(inside)]),
            jac=True,
            method="L-BFGS-B",
            bounds=[slopes, *[(None, None)] * len(inside)],
            options={"ftol": decrease, "gtol": steepness},
        )
        return float(result.x[0]), float(result.x[1])

    together = np.zeros(len(label), dtype=np.int64)
    slope, intercept = search(together if group is None else group, start, (min_slope, None))
    if group is not None:
        slope, intercept = search(together, (slope, start[1]), (slope, slope))
    return Calibration(slope=slope, intercept=intercept)


def oracle_impedance(potential: ArrayLike, label: ArrayLike, temperature: float) -> float | None:
    """Find the scalar impedance that minimises log-loss, given the labels: an oracle, not available at prediction time.

    Log-loss is convex in R and its derivative vanishes where the mean of ``sigmoid((U_I - R) / T)`` equals
    the prevalence. That R lies between ``min U_I - T logit(prevalence)`` and ``max U_I - T logit(prevalence)``.
    It may be negative: the oracle is not held to ``R_E >= 0``.

    Parameters
    ----------
    potential : array_like, shape (n,), float
        ``U_I``.
    label : array_like, shape (n,), int
        1, 0, or -1 for unknown.
    temperature : float
        T > 0.

    Returns
    -------
    float or None
        In the units of ``U_I``; None with one class only, where it would be infinite.

    Raises
    ------
    ValueError
        If `temperature` is not positive and finite.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive and finite, not {temperature}")
    truth, potentials = _labelled(label, potential)
    if _lacks_a_class(truth):
        return None
    prevalence = float(truth.mean())
    shift = temperature * float(log_odds(prevalence))
    lower, upper = float(potentials.min()) - shift, float(potentials.max()) - shift
    margin = 1e-6 * (temperature + abs(lower) + abs(upper))

    def excess(impedance: float) -> float:
        return float(expit((potentials - impedance) / temperature).mean()) - prevalence

    return float(brentq(excess, lower - margin, upper + margin, xtol=1e-10 * (temperature + abs(lower))))


def _lacks_a_class(truth: NDArray[np.float64]) -> bool:
    return truth.size == 0 or bool(truth.min() == truth.max())


def _labelled(label: ArrayLike, *scores: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Return labels and scores of the labelled rows as float64, checked."""
    truth = np.asarray(label)
    columns = [np.asarray(score, dtype=np.float64) for score in scores]
    if truth.ndim != 1 or any(column.shape != truth.shape for column in columns):
        raise ValueError(f"shapes differ: label {truth.shape}, scores {[column.shape for column in columns]}")
    if not np.isin(truth, (-1, 0, 1)).all():
        raise ValueError("a label is none of -1, 0, 1")
    keep = truth >= 0
    kept = [column[keep] for column in columns]
    if not all(np.isfinite(column).all() for column in kept):
        raise ValueError("a score of a labelled row is not finite")
    return truth[keep].astype(np.float64), *kept
