"""The support set of an environment at prediction time: its pairs of lowest seeded rank, each content once.

The rank of a pair is a seeded hash of its content, so neither the order of the pairs nor how they are cut into blocks
matters. Prediction, in memory and streaming, evaluation and comparison draw here; validation orders its pairs by the
same rank. Tasks of training draw theirs in `episode.episodes.tasks`. Knows neither files nor models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from episode.inference.pairs import PairRows
from episode.seeds import derive_seeds

__all__ = ["SupportDraw", "content_ranks", "draw_support"]


def content_ranks(seed: int, digests: Sequence[bytes], rows: PairRows) -> np.ndarray:
    """Rank of each pair by its content: the sequences of both elements and their orientation, free of ids.

    Parameters
    ----------
    digests : sequence of bytes
        Digest of each element's sequence, see `episode.data.dataset.Dataset.digests`.

    Returns
    -------
    ndarray, shape (n,), int64
        Equal where the contents are.
    """
    place = (rows.enhancer * len(digests) + rows.promoter) * 2 + rows.mirrored
    distinct, inverse = np.unique(place, return_inverse=True)
    pair, mirrored = np.divmod(distinct, 2)
    enhancer, promoter = np.divmod(pair, len(digests))
    orientation = (b" 0", b" 1")
    names = [
        digests[e] + b" " + digests[p] + orientation[m]
        for e, p, m in zip(enhancer.tolist(), promoter.tolist(), mirrored.tolist(), strict=True)
    ]
    return derive_seeds(seed, names)[inverse.reshape(-1)]


def draw_support(rank: np.ndarray, rows: PairRows, size: int) -> np.ndarray:
    """Draw the support set of one environment.

    Parameters
    ----------
    rank : ndarray, shape (n,), int64
        Of `content_ranks`.

    Returns
    -------
    ndarray, shape (m,), int64
        Positions in `rows`, by ascending rank. Of equal contents the first by enhancer, promoter and distance is taken.
    """
    order = np.lexsort((rows.distance, rows.promoter, rows.enhancer, rank))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(rank[order]) != 0
    return order[first][:size]


class SupportDraw:
    """The draw of `draw_support` from pairs that come block by block, in memory of the support's own size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rank = np.zeros(0, dtype=np.int64)
        self.rows: PairRows | None = None

    def offer(self, rank: np.ndarray, rows: PairRows) -> None:
        """Take in more pairs of the environment.

        Parameters
        ----------
        rank : ndarray, shape (n,), int64
            See `content_ranks`.
        """
        if len(self.rank) == self.size:
            near = np.flatnonzero(rank <= self.rank[-1])
            rank, rows = rank[near], rows.take(near)
        if self.rows is not None:
            rank, rows = np.concatenate([self.rank, rank]), PairRows.concatenate([self.rows, rows])
        chosen = draw_support(rank, rows, self.size)
        self.rank, self.rows = rank[chosen], rows.take(chosen)
