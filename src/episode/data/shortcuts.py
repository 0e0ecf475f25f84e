"""Shortcut statistics of pairs: what a model could rank by without reading a sequence.

They read no label. This module does not know who reads them.
"""

from __future__ import annotations

import numpy as np

from episode.data.dataset import Dataset
from episode.schema import Model, Vector

__all__ = ["Shortcuts", "shortcut_statistics"]


class Shortcuts(Model):
    """Mean and standard deviation of the shortcut statistics over the training pairs, each of shape (9,)."""

    mean: Vector
    deviation: Vector

    @classmethod
    def fit(cls, statistics: np.ndarray) -> Shortcuts:
        """Measure them on statistics of shape (n, 9)."""
        return cls(mean=statistics.mean(0), deviation=statistics.std(0))

    def standardise(self, statistics: np.ndarray) -> np.ndarray:
        """Centre and scale; a statistic that is constant in training is held at 0."""
        safe = np.where(self.deviation > 1e-6, self.deviation, np.inf)
        return np.clip((statistics - self.mean) / safe, -5, 5).astype(np.float32)


def shortcut_statistics(dataset: Dataset) -> np.ndarray:
    """GC, length, N fraction, distance and degree of every pair, shape (n, 9); no label is read.

    The degree of an element is the number of pairs that hold it within its environment. Lengths, distances (bp) and
    degrees enter as natural logarithms of 1 + value; an unknown distance enters as that of 0 bp.
    """
    pairs, elements = dataset.pairs, dataset.elements
    columns = []
    for name in ("gc", "length", "n_fraction"):
        values = elements[name].to_numpy(np.float64)
        values = np.log1p(values) if name == "length" else np.nan_to_num(values)
        columns += [values[pairs["enhancer_id"]], values[pairs["promoter_id"]]]
    columns.append(np.log1p(np.nan_to_num(pairs["distance"].to_numpy(np.float64).clip(0))))
    for name in ("enhancer_id", "promoter_id"):
        columns.append(np.log1p(pairs.groupby(["environment", name])[name].transform("size").to_numpy(np.float64)))
    return np.stack(columns, axis=1)
