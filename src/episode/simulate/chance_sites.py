"""Chance sites: stretches of background that look like an inserted motif, and how they are taken out.

This module does NOT know elements, potentials or files: it sees one stretch of DNA, what is inserted in it, and the
motifs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from episode.encode.motifs import site_scores
from episode.errors import ConfigError

__all__ = ["ChanceSites"]

WORD = 8
"""Bases of the longest window that is looked up before a whole site is scored."""
MASKS = 64
ROUNDS = 100
"""Times that a stretch is gone over, each site that is found losing a base."""


class ChanceSites:
    """Finds, and takes out, sites as good as the weakest inserted one of their motif.

    Every window is first looked up by its most informative `WORD` bases, for all motifs and both strands at once; only
    what can still reach a motif's minimum score is scored in full.

    Parameters
    ----------
    log_odds : sequence of ndarray, each shape (width, 4)
        Score of each base (A, C, G, T) at each position of a site, in any unit, at most 32 motifs.
    minimum : sequence of float
        Score from which on a stretch counts as a site of the motif.
    names : sequence of str
        Names of the motifs, for messages.

    Raises
    ------
    ValueError
        If there are more than 32 motifs.
    """

    def __init__(self, log_odds: Sequence[np.ndarray], minimum: Sequence[float], names: Sequence[str]) -> None:
        matrices = [m for bits in log_odds for m in (bits.astype(np.float64), bits[::-1, ::-1].astype(np.float64))]
        if len(matrices) > MASKS:
            raise ValueError(f"{len(log_odds)} motifs: at most {MASKS // 2} can be looked for at once")
        self._matrices, self._names = matrices, tuple(names)
        self._minimum = np.repeat(np.asarray(minimum, dtype=np.float64), 2) - 1e-9
        self._word = min([WORD, *(len(m) for m in matrices)])
        self._start = [self._informative(m) for m in matrices]
        self._table = np.zeros(4**self._word, dtype=np.uint64)
        for k, matrix in enumerate(matrices):
            start = self._start[k]
            inside = matrix[start : start + self._word]
            score = np.zeros(1)
            for row in inside:
                score = (score[:, None] + row[None, :]).reshape(-1)
            rest = matrix.max(axis=1).sum() - inside.max(axis=1).sum()
            self._table |= (score + rest >= self._minimum[k]).astype(np.uint64) << np.uint64(k)

    def _informative(self, matrix: np.ndarray) -> int:
        """Return where the word begins in which the worst bases cost most."""
        cost = matrix.max(axis=1) - matrix.mean(axis=1)
        sums = [cost[i : i + self._word].sum() for i in range(len(matrix) - self._word + 1)]
        return int(np.argmax(sums))

    def find(self, dna: np.ndarray, near: np.ndarray | None = None) -> list[tuple[int, int]]:
        """Return the sites of a stretch as (matrix, start), matrix 2m for motif m as it is, 2m + 1 for its reverse.

        Parameters
        ----------
        dna : ndarray, shape (length,), uint8
            A=0, C=1, G=2, T=3.
        near : ndarray of int, optional
            Only sites that hold one of these bases are looked for; by default all.
        """
        windows = len(dna) - self._word + 1
        if windows <= 0:
            return []
        if near is None:
            word = np.zeros(windows, dtype=np.int64)
            for k in range(self._word):
                word = word * 4 + dna[k : k + windows]
            masks = self._table[word]
            hits = np.flatnonzero(masks)
            masks = masks[hits]
        else:
            reach = max(len(m) for m in self._matrices)
            hits = np.unique(near[:, None] + np.arange(-reach, reach))
            hits = hits[(hits >= 0) & (hits < windows)]
            word = dna[hits[:, None] + np.arange(self._word)] @ 4 ** np.arange(self._word)[::-1]
            masks = self._table[word]
        found: list[tuple[int, int]] = []
        for k, matrix in enumerate(self._matrices):
            start = hits[(masks >> np.uint64(k)) & np.uint64(1) == 1] - self._start[k]
            start = start[(start >= 0) & (start + len(matrix) <= len(dna))]
            if len(start):
                found += [(k, int(at)) for at in start[site_scores(dna, matrix, start) >= self._minimum[k]]]
        return found

    def remove(self, dna: np.ndarray, inserted: np.ndarray, rng: np.random.Generator) -> None:
        """Change single bases of the background until no site is left that is not inserted; in place.

        A site that inserted bases alone make as good stays.

        Parameters
        ----------
        dna : ndarray, shape (length,), uint8
        inserted : ndarray, shape (length,), bool
            Bases that may not be changed.
        rng : Generator

        Raises
        ------
        ConfigError
            If others are still left after `ROUNDS` rounds.
        """
        changed: np.ndarray | None = None
        for _ in range(ROUNDS):
            places = []
            for k, start in self.find(dna, changed):
                at = self._changeable(dna, inserted, k, start)
                if at is not None:
                    dna[at] = (dna[at] + rng.integers(1, 4)) % 4
                    places.append(at)
            if not places:
                break
            changed = np.array(places)
        self._check(dna, inserted)

    def _changeable(self, dna: np.ndarray, inserted: np.ndarray, k: int, start: int) -> int | None:
        """Return the background base of a site whose change can cost it most; None if no change can."""
        matrix = self._matrices[k]
        place = np.arange(start, start + len(matrix))
        drop = matrix[np.arange(len(matrix)), dna[place]] - matrix.min(axis=1)
        drop[inserted[place]] = -np.inf
        worst = int(np.argmax(drop))
        return int(place[worst]) if drop[worst] > 0 else None

    def _check(self, dna: np.ndarray, inserted: np.ndarray) -> None:
        """Refuse a stretch with sites that inserted bases alone do not make."""
        left = [
            self._names[k // 2]
            for k, start in self.find(dna)
            if self._changeable(dna, inserted, k, start) is not None
            or not inserted[start : start + len(self._matrices[k])].any()
        ]
        if left:
            raise ConfigError(
                f"chance_sites = False: {len(left)} chance sites of {', '.join(sorted(set(left)))} are left in "
                f"{len(dna):,} bp after {ROUNDS} rounds of changing bases; needed motifs whose weakest inserted site "
                "DNA can do without on both strands: raise weakest_site or min_information, or allow chance sites"
            )
