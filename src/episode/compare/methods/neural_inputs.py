"""What the neural baselines read of an element: motif occupancies along it, or the DNA at its centre.

Both are made once an element and orientation, and kept. This module does not know pairs, labels or networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from episode.data.dataset import Dataset
from episode.dna import UNKNOWN, crop_offset, reverse_complement
from episode.encode.store import ElementStore
from episode.inference.orientation import mirror

__all__ = ["DnaWindows", "ElementBatch", "ElementInputs", "MotifTokens"]

MOST_TOKENS = 64
"""Tokens of the longest element; bins of longer ones are pooled."""
WINDOW = 2048
"""Central bases of an element that the DNA networks read."""
SHORTEST = 512
"""Bases that a window has at least."""


@dataclass(frozen=True)
class ElementBatch:
    """Some elements, padded.

    Parameters
    ----------
    content : Tensor, shape (n, length, channels) float32, or (n, length) int64
        Motif occupancies in [0, 1], or codes of bases (A=0, C=1, G=2, T=3, unknown or padding 4).
    mask : Tensor, shape (n, length), bool
        True at what belongs to the element.
    """

    content: Tensor
    mask: Tensor


class ElementInputs(Protocol):
    """Gathers elements as a network reads them."""

    def gather(self, ids: NDArray[np.int64], reverse: NDArray[np.bool_]) -> ElementBatch:
        """Return elements `ids`, reverse-complemented where `reverse` says so; both of shape (n,)."""


class MotifTokens:
    """Occupancy of every motif on either strand, along an element.

    A score becomes the occupancy ``sigmoid(score - threshold)``, score and threshold in bits, rounded to 1/255. An
    element of more than 64 bins becomes 64 tokens: token i is the maximum over the bins that overlap the i-th 64th of
    the element, so that pooling and reverse complement commute.

    Parameters
    ----------
    thresholds : ndarray, shape (n_motifs,)
        Score in bits of a site that is half occupied.
    """

    def __init__(self, store: ElementStore, thresholds: NDArray[np.float32]) -> None:
        self.channels = 2 * store.n_motifs
        self._store = store
        self._threshold = torch.from_numpy(np.asarray(thresholds, dtype=np.float32))
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def gather(self, ids: NDArray[np.int64], reverse: NDArray[np.bool_]) -> ElementBatch:
        """Return tokens (n, length, 2 * n_motifs): the forward strand's motifs, then the reverse strand's."""
        tokens = [self._element(int(i)) for i in ids]
        count = np.array([len(t) for t in tokens], dtype=np.int64)
        longest = int(count.max(initial=1))
        values = torch.zeros((len(tokens), longest, 2, self.channels // 2))
        for row, token in zip(values, tokens, strict=True):
            row[: len(token)] = torch.from_numpy(token)
        mask = torch.arange(longest) < torch.from_numpy(count)[:, None]
        return ElementBatch(mirror(values.div_(255.0), mask, torch.from_numpy(reverse)).flatten(2), mask)

    def _element(self, element: int) -> NDArray[np.uint8]:
        """Tokens of one element, shape (tokens, 2, n_motifs)."""
        kept = self._kept.get(element)
        if kept is None:
            scores = torch.from_numpy(self._store.rows(element)).float()
            occupancy = scores.sub_(self._threshold).sigmoid_().mul_(255.0).round_().to(torch.uint8).numpy()
            kept = self._kept[element] = occupancy if len(occupancy) <= MOST_TOKENS else _pool(occupancy)
        return kept


def _pool(tokens: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Maximum over each of `MOST_TOKENS` equal parts of the first axis, bins on a border counting on both sides."""
    edge = np.arange(MOST_TOKENS) * len(tokens)
    first, last = edge // MOST_TOKENS, -(-(edge + len(tokens)) // MOST_TOKENS) - 1
    pooled = tokens[first].copy()
    for step in range(1, int((last - first).max()) + 1):
        np.maximum(pooled, tokens[np.minimum(first + step, last)], out=pooled)
    return pooled


class DnaWindows:
    """The central bases of every element, a shorter element in the middle of unknown bases.

    The window has `WINDOW` bases, or as many as the longest element if that is shorter (`SHORTEST` at least).
    """

    def __init__(self, dataset: Dataset) -> None:
        longest = int(dataset.elements["length"].max())
        self.window = min(WINDOW, max(SHORTEST, longest))
        self._offset = dataset.elements["offset"].to_numpy(np.int64)
        self._length = dataset.elements["length"].to_numpy(np.int64)
        self._codes = dataset.codes
        self._kept: dict[tuple[int, bool], NDArray[np.uint8]] = {}

    def gather(self, ids: NDArray[np.int64], reverse: NDArray[np.bool_]) -> ElementBatch:
        """Return codes (n, window)."""
        rows = [self._element(int(i), turn) for i, turn in zip(ids, reverse.tolist(), strict=True)]
        codes = torch.from_numpy(np.stack(rows)).long()
        return ElementBatch(codes, codes < UNKNOWN)

    def _element(self, element: int, turn: bool) -> NDArray[np.uint8]:
        kept = self._kept.get((element, turn))
        if kept is None:
            start, end = (int(self._offset[element]) + x for x in crop_offset(int(self._length[element]), self.window))
            codes = np.asarray(self._codes[start:end])
            before = (self.window - len(codes)) // 2
            kept = np.full(self.window, UNKNOWN, dtype=np.uint8)
            kept[before : before + len(codes)] = codes
            kept = self._kept[element, turn] = reverse_complement(kept) if turn else kept
        return kept
