"""The support set of an environment from blocks of pairs: those of lowest seeded rank, in memory of its own size.

The rank of a pair is a seeded hash of its content, so neither the order of the pairs nor how they are cut into blocks
matters; it is the choice of `episode.predict.impedance.choose_support`. Knows neither files nor models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from episode.inference.pairs import PairRows
from episode.seeds import derive_seeds

__all__ = ["SupportDraw", "bare_rows", "content_ranks"]


def content_ranks(seed: int, digests: Sequence[bytes], rows: PairRows) -> np.ndarray:
    """Rank of each pair by its content, shape (n,), int64: of `episode.inference.pairs.pair_keys`, hashed.

    Parameters
    ----------
    seed : int
    digests : sequence of bytes
        Digest of each element's sequence, as `episode.dna.digest` gives it.
    rows : PairRows
        n pairs.
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


def bare_rows(
    enhancer: np.ndarray, promoter: np.ndarray, mirrored: np.ndarray, oriented: np.ndarray, distance: np.ndarray
) -> PairRows:
    """Pairs with all that the potential reads; labels and loci unknown, no shortcut statistics."""
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


class SupportDraw:
    """The pairs of lowest rank among all that were offered, each content once: the first by ids, then by distance.

    Parameters
    ----------
    size : int
        Largest support.
    """

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
        rows : PairRows
            n pairs.
        """
        if len(self.rank) == self.size:
            near = np.flatnonzero(rank <= self.rank[-1])
            rank, rows = rank[near], rows.take(near)
        if self.rows is not None:
            rank, rows = np.concatenate([self.rank, rank]), PairRows.concatenate([self.rows, rows])
        order = np.lexsort((rows.distance, rows.promoter, rows.enhancer, rank))
        first = np.ones(len(order), dtype=bool)
        first[1:] = np.diff(rank[order]) != 0
        chosen = order[first][: self.size]
        self.rank, self.rows = rank[chosen], rows.take(chosen)
