"""Block bootstrap: blocks of pairs, draws of blocks, and every metric for many draws at once.

Neighbouring pairs share elements and signal, so that resampling single pairs makes intervals too narrow. What is
resampled here are blocks of the genome. A draw takes as many blocks as there are, with replacement; a block drawn
twice counts twice, so that a draw is a vector of multiplicities and each metric is its weighted form. With all
multiplicities 1 the numbers are those of `episode.metrics.metrics`, with 2 those of the rows repeated.

A number that is not defined in a draw is NaN there. This module does not know environments, methods, or
intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import expit

from episode.metrics.metrics import BINS, ROWS_PER_BIN

__all__ = ["Decision", "Probability", "Ranking", "block_ids", "decision", "draw_weights", "probability", "ranking"]

CHUNK = 1 << 16
"""Numbers worked on at a time: 512 kB of float64, what a core keeps near."""


@dataclass(frozen=True)
class Ranking:
    """Numbers of an order, each of shape (draws,); NaN in a draw that lacks a class."""

    auroc: NDArray[np.float64]
    """Area under the ROC curve, ties counted half."""
    aupr: NDArray[np.float64]
    """Average precision, step-wise, tied scores one threshold."""
    precision_at_recall: NDArray[np.float64]
    """Largest precision among thresholds that reach the recall."""


@dataclass(frozen=True)
class Probability:
    """Numbers of a probability, each of shape (draws,); NaN in a draw without a row."""

    log_loss: NDArray[np.float64]
    """Mean negative log-likelihood, nats."""
    brier: NDArray[np.float64]
    """Mean squared difference between probability and label."""
    ece: NDArray[np.float64]
    """Expected calibration error in adaptive bins of equal mass."""


@dataclass(frozen=True)
class Decision:
    """Numbers of a call, each of shape (draws,); NaN in a draw that lacks a class."""

    f1: NDArray[np.float64]
    precision: NDArray[np.float64]
    """0 where nothing is called."""
    recall: NDArray[np.float64]


def block_ids(pairs: pd.DataFrame, block_bp: int) -> NDArray[np.int64]:
    """Number the blocks of the genome that pairs fall in.

    A pair belongs to the block of `block_bp` bases that holds the midpoint of its upstream element, the one with the
    smaller midpoint, on its chromosome (0-based, half-open). Pairs without coordinates: one block a locus.

    Parameters
    ----------
    pairs : DataFrame, n_pairs rows
        ``has_coordinates``, ``locus``, ``enhancer_chrom`` and ``start`` and ``end`` of both elements, as in
        `episode.data.dataset.Dataset`.
    block_bp : int
        Length of a block, bp.

    Returns
    -------
    ndarray, shape (n_pairs,), int64
        In [0, n_blocks), each number in use; does not depend on the order of the pairs.

    Raises
    ------
    ValueError
        If `block_bp` is not positive.
    """
    if block_bp <= 0:
        raise ValueError(f"block_bp must be positive, not {block_bp}")
    known = pairs["has_coordinates"].to_numpy(dtype=bool)
    twice = np.minimum(
        (pairs["enhancer_start"] + pairs["enhancer_end"]).to_numpy(dtype=np.int64),
        (pairs["promoter_start"] + pairs["promoter_end"]).to_numpy(dtype=np.int64),
    )
    chrom = np.where(known, pairs["enhancer_chrom"].to_numpy(dtype=str), "")
    place = np.where(known, twice // (2 * block_bp), pairs["locus"].to_numpy(dtype=np.int64))
    _, chrom_id = np.unique(chrom, return_inverse=True)
    _, block = np.unique(np.column_stack([chrom_id, place]), axis=0, return_inverse=True)
    return block.reshape(-1).astype(np.int64)


def draw_weights(blocks: NDArray[np.int64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw blocks with replacement, as many as there are.

    Parameters
    ----------
    blocks : ndarray, shape (n,), int
        Block of each row, numbered 0 to n_blocks - 1 without gaps.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (draws, n_blocks), float64
        How often each block was taken; every draw sums to n_blocks.

    Raises
    ------
    ValueError
        If there is no row, or the numbering has a gap.
    """
    present = np.unique(blocks)
    if present.size == 0 or present[0] != 0 or present[-1] != present.size - 1:
        raise ValueError("blocks must be numbered 0 to n_blocks - 1 without gaps")
    equal = np.full(present.size, 1 / present.size)
    return rng.multinomial(present.size, equal, size=draws).astype(np.float64)


def ranking(
    label: ArrayLike, score: ArrayLike, blocks: ArrayLike, weights: NDArray[np.float64], *, recall: float = 0.7
) -> Ranking:
    """Weigh the ranking metrics of one score under every draw.

    All three change only at thresholds where a positive is ("rungs"), so that a draw needs the weight of positives
    and negatives between rungs and no more.

    Parameters
    ----------
    label : array_like, shape (n,), int
        1 or 0.
    score : array_like, shape (n,), float
        Anything that ranks.
    blocks : array_like, shape (n,), int
        Column of `weights` that weighs each row.
    weights : ndarray, shape (draws, n_blocks), float
        Non-negative multiplicities.
    recall : float
        What `Ranking.precision_at_recall` has to reach.

    Raises
    ------
    ValueError
        If shapes differ, a label is neither 0 nor 1, or a score is not finite.
    """
    truth, scores, block = _rows(label, score, blocks)
    positive = truth == 1
    _, place = np.unique(-scores, return_inverse=True)
    rungs = np.unique(place[positive])
    n_rungs = rungs.size
    rung = np.searchsorted(rungs, place)  # the first rung at or below each row; n_rungs below all of them
    tied = ~positive & np.isin(place, rungs)
    # Three ladders of counts by block: positives, negatives (last those below all rungs), negatives tied with a rung.
    step = np.concatenate([rung[positive], n_rungs + rung[~positive], 2 * n_rungs + 1 + rung[tied]])
    column = np.concatenate([block[positive], block[~positive], block[tied]])
    shape = (3 * n_rungs + 1, weights.shape[1])
    counts = csr_array((np.ones(step.size), (step, column)), shape=shape)

    result = np.full((3, weights.shape[0]), np.nan)
    if n_rungs == 0:
        return Ranking(*result)
    for part in _chunks(weights.shape[0], shape[0]):
        mass = counts @ np.ascontiguousarray(weights[part].T)
        hit, miss, tie = mass[:n_rungs], mass[n_rungs : 2 * n_rungs + 1], mass[2 * n_rungs + 1 :]
        hits, misses = np.cumsum(hit, axis=0), np.cumsum(miss[:-1], axis=0)
        positives, negatives = hits[-1], miss.sum(axis=0)
        usable = (positives > 0) & (negatives > 0)
        precision = hits / np.maximum(hits + misses, np.finfo(float).tiny)
        reached = hits >= positives * (recall * (1 - 1e-12))
        misses -= tie / 2
        for row, value in enumerate(
            (
                1 - _ratio(np.einsum("ij,ij->j", hit, misses), positives * negatives),
                _ratio(np.einsum("ij,ij->j", hit, precision), positives),
                np.where(reached, precision, 0.0).max(axis=0),
            )
        ):
            result[row, part] = np.where(usable, value, np.nan)
    return Ranking(*result)


def probability(label: ArrayLike, logit: ArrayLike, blocks: ArrayLike, weights: NDArray[np.float64]) -> Probability:
    """Weigh log-loss, Brier score and calibration error of one logit under every draw.

    The bins of the calibration error are made again in each draw, as `episode.metrics.metrics.reliability_curve` makes
    them for the rows repeated: with M the weight of all rows, ``B = min(15, max(1, M // 20))`` bins, and a group of
    rows of equal probability goes to bin ``floor(B m / M)``, m the weight below it and half of its own.

    Parameters
    ----------
    label, blocks, weights
        As for `ranking`.
    logit : array_like, shape (n,), float
        Log-odds of label 1.

    Raises
    ------
    ValueError
        If shapes differ, a label is neither 0 nor 1, or a logit is not finite.
    """
    truth, scores, block = _rows(label, logit, blocks)
    predicted = expit(scores)
    loss = np.logaddexp(0.0, np.where(truth == 1, -scores, scores))
    mass, loss_sum, square_sum = _block_sums(block, weights, np.ones(truth.size), loss, (predicted - truth) ** 2)
    return Probability(
        log_loss=_ratio(loss_sum, mass),
        brier=_ratio(square_sum, mass),
        ece=_calibration_error(truth, predicted, block, weights),
    )


def decision(label: ArrayLike, call: ArrayLike, blocks: ArrayLike, weights: NDArray[np.float64]) -> Decision:
    """Weigh F1, precision and recall of one call under every draw.

    Parameters
    ----------
    label, blocks, weights
        As for `ranking`.
    call : array_like, shape (n,), bool
        True where an interaction is called.

    Raises
    ------
    ValueError
        If shapes differ, or a label is neither 0 nor 1.
    """
    truth, called, block = _rows(label, call, blocks)
    mass, positives, calls, hits = _block_sums(block, weights, np.ones(truth.size), truth, called, truth * called)
    usable = (positives > 0) & (positives < mass)
    found = np.where(calls > 0, _ratio(hits, calls), 0.0)
    return Decision(
        f1=np.where(usable, _ratio(2 * hits, calls + positives), np.nan),
        precision=np.where(usable, found, np.nan),
        recall=np.where(usable, _ratio(hits, positives), np.nan),
    )


def _calibration_error(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], block: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the expected calibration error in each draw, shape (draws,)."""
    draws, n = weights.shape[0], truth.size
    result = np.full(draws, np.nan)
    if n == 0:
        return result
    order = np.argsort(predicted, kind="stable")
    residual, column = (predicted - truth)[order], block[order]
    last = np.flatnonzero(np.append(np.diff(predicted[order]) > 0, True))  # the last row of each group of ties
    edge = np.arange(1, BINS, dtype=np.float64)
    for part in _chunks(draws, n):
        weight = np.take(weights[part], column, axis=1)
        below = np.cumsum(weight, axis=1)
        error = np.cumsum(np.multiply(weight, residual, out=weight), axis=1)
        if last.size < n:
            below, error = below[:, last], error[:, last]
        mass = below[:, -1].copy()
        middle = below
        middle[:, 1:] = (below[:, 1:] + below[:, :-1]) / 2
        middle[:, 0] /= 2
        bins = np.clip(mass // ROWS_PER_BIN, 1, BINS)
        # One search for all draws: each draw is lifted past the one before by a power of two, which keeps it exact.
        lift = 2.0 ** np.ceil(np.log2(mass.max() + 2)) * np.arange(mass.size)
        middle += lift[:, None]
        start = np.where(edge < bins[:, None], edge * mass[:, None] / bins[:, None], mass[:, None] + 0.5)
        found = np.searchsorted(middle.reshape(-1), (start + lift[:, None]).reshape(-1)).reshape(start.shape)
        found -= last.size * np.arange(mass.size)[:, None]
        passed = np.where(found > 0, np.take_along_axis(error, np.maximum(found - 1, 0), axis=1), 0.0)
        sums = np.diff(passed, axis=1, prepend=0.0, append=error[:, -1:])
        result[part] = _ratio(np.abs(sums).sum(axis=1), mass)
    return result


def _block_sums(
    block: NDArray[np.int64], weights: NDArray[np.float64], *columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum columns over rows under every draw, shape (n_columns, draws): blocks first, then draws."""
    sums = [np.bincount(block, column, weights.shape[1]) for column in columns]
    return np.stack(sums) @ weights.T


def _chunks(draws: int, height: int) -> Iterator[slice]:
    """Cut the draws so that `height` numbers a draw stay within `CHUNK`."""
    size = max(1, CHUNK // max(1, height))
    for start in range(0, draws, size):
        yield slice(start, min(start + size, draws))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _rows(
    label: ArrayLike, score: ArrayLike, blocks: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return label and score as float64 and the block as int64, checked."""
    truth = np.asarray(label, dtype=np.float64)
    scores = np.asarray(score, dtype=np.float64)
    block = np.asarray(blocks, dtype=np.int64)
    if truth.ndim != 1 or scores.shape != truth.shape or block.shape != truth.shape:
        raise ValueError(f"shapes differ: label {truth.shape}, score {scores.shape}, blocks {block.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("a label is neither 0 nor 1")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return truth, scores, block
