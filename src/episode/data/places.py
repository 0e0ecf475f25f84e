"""Which elements lie where training has been: intervals by overlap, elements without coordinates by their sequence.

This module does NOT know models or environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Places"]

LENGTH = 32
DIGEST = f"S{LENGTH}"


@dataclass(frozen=True)
class Places:
    """Where a set of elements lies.

    Parameters
    ----------
    chromosomes : tuple of str
        Sorted.
    chrom, start, end : ndarray, shape (n,), int64
        Merged intervals, 0-based half-open, by chromosome (a number in `chromosomes`) and start.
    digests : ndarray, shape (m, 32), uint8
        Of the sequences of elements without coordinates, as `episode.dna.digest` writes them; sorted.
    """

    chromosomes: tuple[str, ...]
    chrom: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    digests: NDArray[np.uint8]

    @classmethod
    def of(cls, elements: pd.DataFrame, digests: Sequence[bytes]) -> Places:
        """Collect the places of elements.

        Parameters
        ----------
        elements : DataFrame
            Columns `chrom` (empty where unknown), `start` and `end`.
        digests : sequence of bytes
            See `episode.dna.digest`.
        """
        placed = _placed(elements)
        table = elements.loc[placed, ["chrom", "start", "end"]].sort_values(["chrom", "start", "end"])
        names = tuple(sorted(map(str, table["chrom"].unique())))
        chrom = pd.Index(names).get_indexer(pd.Index(table["chrom"])).astype(np.int64)
        start, end = table["start"].to_numpy(np.int64), table["end"].to_numpy(np.int64)
        reach = pd.Series(end).groupby(chrom).cummax().to_numpy(np.int64)
        first = np.ones(len(table), dtype=bool)
        first[1:] = (chrom[1:] != chrom[:-1]) | (start[1:] > reach[:-1])
        last = np.append(np.flatnonzero(first)[1:] - 1, len(table) - 1) if len(table) else np.zeros(0, dtype=np.int64)
        own = np.unique(np.array([digests[number] for number in np.flatnonzero(~placed).tolist()], dtype=DIGEST))
        return cls(names, chrom[first], start[first], reach[last], own.view(np.uint8).reshape(len(own), LENGTH))

    def overlap(self, elements: pd.DataFrame, digests: Sequence[bytes]) -> NDArray[np.bool_]:
        """Tell which elements overlap one of these by at least a base, or have its sequence; shape (n,), bool.

        An element without coordinates can have no other sequence in common than that of one without coordinates.
        Parameters are those of `of`.
        """
        placed = _placed(elements)
        found = np.zeros(len(elements), dtype=bool)
        chrom = pd.Index(self.chromosomes).get_indexer(pd.Index(elements["chrom"]))
        start, end = elements["start"].to_numpy(np.int64), elements["end"].to_numpy(np.int64)
        for number in range(len(self.chromosomes)):
            here = np.flatnonzero(placed & (chrom == number))
            mine = self.chrom == number
            before = np.searchsorted(self.start[mine], end[here], side="left")
            ended = np.searchsorted(self.end[mine], start[here], side="right")
            found[here] = before > ended
        known = set(np.ascontiguousarray(self.digests).reshape(-1).view(DIGEST).tolist())
        found[~placed] = [digests[number] in known for number in np.flatnonzero(~placed).tolist()]
        return found


def _placed(elements: pd.DataFrame) -> NDArray[np.bool_]:
    return ((elements["chrom"] != "") & (elements["start"] >= 0)).to_numpy(bool)
