"""Candidate motif sites of one element, and how overlapping ones are grouped.

Coordinates count bases of the element as it is stored (forward strand of the genome), 0-based half-open. This module
does NOT know models: a candidate is a matter of score alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from episode.encode.bins import bins_at
from episode.encode.motifs import MotifBank, site_scores

__all__ = ["Site", "find_sites", "gate_sites", "lead_sites", "strongest"]


@dataclass(frozen=True)
class Site:
    """One site of one motif.

    Parameters
    ----------
    motif : int
        Row of the bank; of the gate's bank where `gate`.
    gate : bool
        The matrix is one of the boundary gate.
    strand : int
        0 forward, 1 reverse, in the element as it is stored.
    start, end : int
        Bases of the element, 0-based half-open.
    score : float
        Bits.
    margin : float
        Bits above the threshold of its motif.
    bins : tuple of int
        Bins that hold its centre; two where it lies on an edge.
    reach : (int, int)
        Bases that are read together with it: its own, and for the boundary gate those of other matrices there.
    """

    motif: int
    gate: bool
    strand: int
    start: int
    end: int
    score: float
    margin: float
    bins: tuple[int, ...]
    reach: tuple[int, int]

    def covers(self, other: Site) -> bool:
        """Whether another site has a base within reach."""
        return self.reach[0] < other.end and other.start < self.reach[1]


def find_sites(
    codes: np.ndarray, bank: MotifBank, bin: int, thresholds: np.ndarray, *, gate: bool = False
) -> list[Site]:
    """Find the sites that a model of bins can see: in each bin the best of each motif on each strand.

    A second site of the same motif and strand in the same bin is hidden by the better one and is left out.

    Parameters
    ----------
    codes : np.ndarray, shape (length,), uint8
        A=0, C=1, G=2, T=3, anything else 4.
    bank : MotifBank
    bin : int
        Base pairs of a bin, laid as in ``docs/stem.md``.
    thresholds : np.ndarray, shape (n_motifs,)
        Bits; only sites as good are candidates.
    gate : bool
        `bank` is that of the boundary gate.

    Returns
    -------
    list of Site
        By motif, strand and start.
    """
    found = []
    for motif, threshold in enumerate(thresholds.tolist()):
        bits = bank.log_odds(motif)
        for strand, table in enumerate((bits, bits[::-1, ::-1])):
            scores = site_scores(codes, table)
            best: dict[int, int] = {}
            for start in np.flatnonzero(scores >= threshold).tolist():
                for place in bins_at(2 * start + len(bits), len(codes), bin):
                    if place not in best or scores[start] > scores[best[place]]:
                        best[place] = start
            for start in sorted(set(best.values())):
                bins = tuple(place for place, at in best.items() if at == start)
                score = float(scores[start])
                end = start + len(bits)
                found.append(Site(motif, gate, strand, start, end, score, score - threshold, bins, (start, end)))
    return found


def gate_sites(sites: Sequence[Site]) -> list[Site]:
    """Make one site of what several matrices of the boundary gate find in one place on one strand.

    They are read together, so the matrix that stands furthest above its threshold represents all.
    """
    joined = []
    for strand in (0, 1):
        mine = [site for site in sites if site.strand == strand]
        for lead, others in lead_sites(mine, [site.margin for site in mine]):
            group = [mine[lead], *(mine[i] for i in others)]
            reach = min(site.start for site in group), max(site.end for site in group)
            joined.append(replace(mine[lead], reach=reach))
    return joined


def strongest(sites: Sequence[Site], most: int) -> list[Site]:
    """Keep the `most` sites that are furthest above their thresholds, in their order."""
    kept = sorted(range(len(sites)), key=lambda i: (-sites[i].margin, i))[:most]
    return [sites[i] for i in sorted(kept)]


def lead_sites(sites: Sequence[Site], weight: Sequence[float]) -> list[tuple[int, list[int]]]:
    """Group overlapping sites under the one that weighs most.

    The heaviest site leads and takes in all that have a base within its reach; of the rest the heaviest leads next. So
    no two leads overlap, and random matches beside a strong site are no sites of their own.

    Parameters
    ----------
    sites : sequence of Site
    weight : sequence of float
        Of equal weights the higher score leads, then the earlier site.

    Returns
    -------
    list of (int, list of int)
        Index of each lead and of those it took in, heaviest first.
    """
    left = sorted(range(len(sites)), key=lambda i: (-weight[i], -sites[i].score, i))
    groups = []
    while left:
        lead, *rest = left
        groups.append((lead, [i for i in rest if sites[lead].covers(sites[i])]))
        left = [i for i in rest if not sites[lead].covers(sites[i])]
    return groups
