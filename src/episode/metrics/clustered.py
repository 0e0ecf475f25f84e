"""Variances of sums over pairs that are not independent: pairs share enhancers, and pairs share promoters.

It does not know what the summed numbers mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clustered_variance"]


def clustered_variance(values: NDArray[np.float64], clusters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Variance of the sum of each column of centred values, whose rows depend on each other inside clusters.

    With two clusterings rows depend on each other that share a cluster of either: the variances by each are added, that
    by both taken off. The result is at least the larger of the two.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        n >= 1.
    clusters : ndarray, shape (n, 1) or (n, 2)
        Number of the cluster of each row, in each clustering.

    Returns
    -------
    ndarray, shape (k,)
        Infinite where all rows share a cluster.

    References
    ----------
    Cameron, Gelbach, Miller. Robust inference with multiway clustering. Journal of Business & Economic Statistics 29,
    2011.
    """
    found = [np.unique(column, return_inverse=True) for column in clusters.T]
    if any(len(distinct) == 1 for distinct, _ in found):
        return np.full(values.shape[1], np.inf)
    single = np.stack([_one_way(values, inverse) for _, inverse in found])
    if len(found) == 1:
        return single[0]
    (_, first), (second_distinct, second) = found
    both = np.unique(first * len(second_distinct) + second, return_inverse=True)[1]
    return np.maximum(single.max(axis=0), single.sum(axis=0) - _one_way(values, both))


def _one_way(values: NDArray[np.float64], cluster: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sum of squares of the sums of each cluster, corrected for their number; clusters are numbered from 0."""
    order = np.argsort(cluster, kind="stable")
    start = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    squares = np.square(np.add.reduceat(values[order], start, axis=0)).sum(axis=0)
    return np.asarray(squares * len(start) / (len(start) - 1))
