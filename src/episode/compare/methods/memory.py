"""`locus_memory`: what training says of the places of a pair, whatever their sequence.

A method that does not beat it where test pairs overlap training pairs may have learned no more than where those are.
Cell lines are not distinguished. This module does NOT know sequences, but for elements without coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.select import calibrated, labelled, rest
from episode.data.dataset import Dataset
from episode.data.leakage import LeakageAuditor

__all__ = ["locus_log_odds", "score_fold"]

PRIOR_PAIRS = 1.0
"""Weight of the rate that a rate is drawn towards, in training pairs."""
BLOCK = 1 << 12
"""Pairs that are looked up at a time."""


def score_fold(task: FoldTask) -> RunnerResult:
    """Fill `locus_memory`: the log-odds of `locus_log_odds`, calibrated as those of learned baselines are.

    The calibration and the threshold of the call come from ``held_out``, as the `rest` of the training pairs has it.
    """
    label = task.dataset.pairs["label"].to_numpy(np.int8)
    auditor = LeakageAuditor(task.dataset)
    held_out = labelled(task, task.fold.held_out)
    judged = locus_log_odds(task.dataset, auditor, labelled(task, rest(task.fold)), held_out)
    train, test = labelled(task, task.fold.train), np.flatnonzero(task.fold.test)
    score = locus_log_odds(task.dataset, auditor, train, test)
    return RunnerResult({"locus_memory": calibrated(score, label[held_out], judged)})


def locus_log_odds(
    dataset: Dataset, auditor: LeakageAuditor, train: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the log-odds of the rate of positives among the training pairs that overlap a pair.

    With k positives of n pairs and a rate r to start from, the new rate is ``(k + r) / (n + 1)``. The start is the
    prevalence of the training pairs, half a pair added to either class. First come the training pairs that share the
    overlap of one element only, then those both of whose elements overlap the two of the pair, on either side: so they
    weigh more. Elements overlap by at least a base, or have one sequence where one of them has no coordinates.

    Parameters
    ----------
    auditor : LeakageAuditor
        Of the dataset.
    train : ndarray, shape (n_train,), int64
        Rows of the dataset, all labelled.
    rows : ndarray, shape (n,), int64
        Rows of the dataset.

    Returns
    -------
    ndarray, shape (n,)
        Finite; that of the start where nothing overlaps.
    """
    pairs = dataset.pairs
    ids = pairs[["enhancer_id", "promoter_id"]].to_numpy(np.int64)
    label = pairs["label"].to_numpy(np.float64)[train]
    masks = [np.zeros(len(pairs), dtype=bool) for _ in range(2)]
    masks[0][train], masks[1][rows] = True, True
    overlap = auditor.overlaps(*masks)
    size = len(dataset.elements)
    near = csr_array((np.ones(len(overlap)), (overlap[:, 1], overlap[:, 0])), shape=(size, size))
    by_enhancer, by_promoter = (
        near @ csr_array((np.ones(len(train)), (ids[train, side], np.arange(len(train)))), shape=(size, len(train)))
        for side in (0, 1)
    )
    start = (label.sum() + 0.5) / (len(train) + 1)
    log_odds = np.zeros(len(rows))
    for first in range(0, len(rows), BLOCK):
        part = slice(first, first + BLOCK)
        enhancer, promoter = ids[rows[part]].T
        both = _any(by_enhancer[enhancer] * by_promoter[promoter], by_promoter[enhancer] * by_enhancer[promoter])
        some = _any(by_enhancer[enhancer], by_promoter[enhancer], by_enhancer[promoter], by_promoter[promoter])
        rate = np.full(len(enhancer), start)
        for found in (some - both, both):
            rate = (found @ label + PRIOR_PAIRS * rate) / (found.sum(axis=1) + PRIOR_PAIRS)
        log_odds[part] = np.log(rate) - np.log1p(-rate)
    return log_odds


def _any(*counts: csr_array) -> csr_array:
    """Return 1 where one of some counts is above 0."""
    found = csr_array(sum(counts[1:], counts[0]))
    found.data = np.ones_like(found.data)
    return found
