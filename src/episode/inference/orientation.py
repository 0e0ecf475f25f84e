"""Pair orientation: on which strand a pair is read, and the mean over both orientations where that is unknown.

Mirror rule: the upstream element comes first. A pair whose promoter lies upstream is *mirrored*: both elements are read
as their reverse complements and so swap sides. Coordinates alone decide it (`episode.dna.is_mirrored`). A pair without
coordinates is read in both orientations, each with half the weight.

This module does NOT know models, labels or folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from episode.encode.bases import mirror_bases
from episode.encode.bins import reversed_bins
from episode.encode.store import ElementStore

__all__ = ["OrientedPairs", "gather_oriented", "mean_orientation", "mean_unoriented", "mirror", "orientations"]

Reading = TypeVar("Reading", float, NDArray[np.float64], Tensor)


@dataclass(frozen=True)
class OrientedPairs:
    """Pairs in the orientations in which they are read: one where coordinates are known, else both.

    Parameters
    ----------
    pair : ndarray, shape (m,), int64
        Index of the pair, ascending; twice where both orientations are read.
    enhancer, promoter : ndarray, shape (m,), int64
        Element ids.
    mirrored : ndarray, shape (m,), bool
        Both elements are read as reverse complements.
    """

    pair: NDArray[np.int64]
    enhancer: NDArray[np.int64]
    promoter: NDArray[np.int64]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def weight(self) -> NDArray[np.float64]:
        """1 over the number of orientations of the pair, shape (m,)."""
        return 1.0 / np.bincount(self.pair)[self.pair]

    def average(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average values of orientations, shape (..., m), to those of pairs, shape (..., n_pairs)."""
        first, last = np.flatnonzero(np.diff(self.pair, prepend=-1)), np.flatnonzero(np.diff(self.pair, append=-1))
        return mean_orientation([values[..., first], values[..., last]])


def orientations(
    mirrored: NDArray[np.bool_], oriented: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Orientations in which pairs are read.

    Parameters
    ----------
    mirrored, oriented : ndarray, shape (n,), bool
        As in `episode.inference.pairs.PairRows`.

    Returns
    -------
    pair : ndarray, shape (m,), int64
        Index of the pair, ascending; twice where both orientations are read.
    mirrored : ndarray, shape (m,), bool
        The orientation; that of `mirrored` comes first.
    """
    pair = np.repeat(np.arange(len(mirrored)), np.where(oriented, 1, 2))
    second = np.diff(pair, prepend=-1) == 0
    return pair, mirrored[pair] ^ second


def mean_orientation(readings: Sequence[Reading]) -> Reading:
    """Mean of what was found in each orientation of the same pairs."""
    return sum(readings[1:], start=readings[0]) / len(readings)


def mean_unoriented(given: Tensor, other: Tensor, oriented: NDArray[np.bool_]) -> Tensor:
    """Average both orientations of the pairs that have no coordinates.

    Parameters
    ----------
    given, other : Tensor, shape (n, ...)
        What was found in the given orientation and in the other.
    oriented : ndarray, shape (n,), bool
        Pairs that keep what was found in the given one.
    """
    known = torch.from_numpy(oriented).to(given.device).view(-1, *[1] * (given.dim() - 1))
    return torch.where(known, given, mean_orientation([given, other]))


def mirror(tokens: Tensor, mask: Tensor, mirrored: Tensor) -> Tensor:
    """Turn tokens of elements into those of their reverse complements: bin order reversed, strands swapped.

    Parameters
    ----------
    tokens : Tensor, shape (n, max_bins, 2, channels), or (n, max_bins, bin), uint8
        As from `episode.encode.store.ElementStore.gather`.
    mask : Tensor, shape (n, max_bins), bool
        True at the bins of each element, which come before the padding.
    mirrored : Tensor, shape (n,), bool
        Elements to reverse-complement; the others are returned as they are.

    Returns
    -------
    Tensor, of the same shape
        Padding stays in place. A copy, or the tokens themselves where no element is mirrored.
    """
    if tokens.dtype == torch.uint8:
        return mirror_bases(tokens, mask, mirrored)
    if not bool(mirrored.any()):
        return tokens
    number = torch.arange(mask.numel(), device=tokens.device).view(mask.shape)
    row = torch.where(mirrored[:, None], reversed_bins(mask) + number[:, :1], number)
    strand = torch.arange(2, device=tokens.device) ^ mirrored[:, None].long()
    source = 2 * row[:, :, None] + strand[:, None, :]
    return tokens.flatten(0, 2).index_select(0, source.flatten()).view(tokens.shape)


def gather_oriented(
    store: ElementStore, element: np.ndarray, mirrored: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Gather tokens of elements in pair orientation, and their mask, on a device; both inputs have shape (n,)."""
    tokens, mask = store.gather(element)
    tokens = mirror(tokens, mask, torch.from_numpy(np.ascontiguousarray(mirrored)))
    return tokens.to(device), mask.to(device)
