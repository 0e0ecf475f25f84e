"""Pairs as arrays, in the form that scoring, episodes and prediction share.

This module does NOT know models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from episode.data.dataset import Dataset
from episode.data.shortcuts import Shortcuts, shortcut_statistics

__all__ = ["PairRows", "bare_rows", "pair_rows"]


@dataclass(frozen=True)
class PairRows:
    """Pairs of one or more environments as arrays of one length n.

    Parameters
    ----------
    enhancer, promoter : ndarray, shape (n,), int64
        Rows of the element store.
    mirrored : ndarray, shape (n,), bool
        The promoter lies upstream: both elements are read reverse-complemented.
    oriented : ndarray, shape (n,), bool
        Coordinates are known; where not, both orientations are scored and averaged.
    label : ndarray, shape (n,), int8
        1, 0, or -1 unknown.
    locus : ndarray, shape (n,), int64
        Pairs of one locus are never on both sides of an episode.
    shortcuts : ndarray, shape (n, 9), float32
        Standardised shortcut statistics, for the Opportunist alone; shape (n, 0) where nobody reads them.
    distance : ndarray, shape (n,), float64
        bp, NaN where unknown; for the contact decay alone, where the Backbone has one.
    """

    enhancer: np.ndarray
    promoter: np.ndarray
    mirrored: np.ndarray
    oriented: np.ndarray
    label: np.ndarray
    locus: np.ndarray
    shortcuts: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.enhancer)

    @property
    def clusters(self) -> np.ndarray:
        """Numbers of the locus of the enhancer and of the promoter, shape (n, 2), int64; pairs that share one depend on
        each other."""
        return np.column_stack([self.locus, self.promoter])

    def take(self, index: np.ndarray) -> PairRows:
        """Return the rows `index`."""
        return PairRows(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def element_order(self) -> np.ndarray:
        """Return the order by enhancer, then promoter, in which neighbours share elements, shape (n,), int64."""
        return np.lexsort((self.promoter, self.enhancer))

    @staticmethod
    def concatenate(parts: list[PairRows]) -> PairRows:
        """Join tables in order."""
        names = PairRows.__dataclass_fields__
        return PairRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def pair_rows(dataset: Dataset, shortcuts: Shortcuts | None = None) -> PairRows:
    """Turn the pairs of a dataset into arrays, in the order of `dataset.pairs`.

    Without `shortcuts`, which standardise the shortcut statistics, these are not computed.
    """
    pairs: pd.DataFrame = dataset.pairs
    none = np.zeros((len(pairs), 0), dtype=np.float32)
    return PairRows(
        enhancer=pairs["enhancer_id"].to_numpy(np.int64),
        promoter=pairs["promoter_id"].to_numpy(np.int64),
        mirrored=pairs["mirrored"].to_numpy(bool),
        oriented=pairs["has_coordinates"].to_numpy(bool),
        label=pairs["label"].to_numpy(np.int8),
        locus=pairs["locus"].to_numpy(np.int64),
        shortcuts=none if shortcuts is None else shortcuts.standardise(shortcut_statistics(dataset)),
        distance=pairs["distance"].to_numpy(np.float64),
    )


def bare_rows(
    enhancer: np.ndarray, promoter: np.ndarray, mirrored: np.ndarray, oriented: np.ndarray, distance: np.ndarray
) -> PairRows:
    """Make pairs of all that the potential reads; labels and loci are unknown, shortcut statistics left out."""
    count = len(enhancer)
    return PairRows(
        enhancer=enhancer,
        promoter=promoter,
        mirrored=mirrored,
        oriented=oriented,
        label=np.full(count, -1, dtype=np.int8),
        locus=np.full(count, -1, dtype=np.int64),
        shortcuts=np.zeros((count, 0), dtype=np.float32),
        distance=distance,
    )
