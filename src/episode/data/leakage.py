"""Leakage: what the rows of a test set share with those of a training set.

Knows nothing about how splits are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from episode.data.dataset import Dataset
from episode.data.pairs import SPLITS
from episode.data.splits import Mask
from episode.schema import Model

__all__ = ["Leakage", "LeakageAuditor", "PartLeakage", "Shared", "SplitAudit", "split_audit"]


@dataclass(frozen=True)
class Shared:
    """Rows of part B that share something with part A: how many, and their share of part B (0 if empty)."""

    rows: int
    share: float


@dataclass(frozen=True)
class Leakage:
    """What part B of a dataset has in common with part A, whichever side of a pair an element stands on.

    Parameters
    ----------
    rows_a, rows_b : int
        Pairs in each part.
    enhancer, promoter : Shared
        Rows of B whose enhancer (promoter) has the encoded sequence of an element of A, enhancer or promoter.
    pair : Shared
        Rows of B whose two sequences, in either order, are those of a pair in A.
    locus : Shared
        Rows of B with an element, enhancer or promoter, that overlaps one of A by at least a base.
    """

    rows_a: int
    rows_b: int
    enhancer: Shared
    promoter: Shared
    pair: Shared
    locus: Shared


class LeakageAuditor:
    """Counts the pairs of one part of a dataset whose elements occur in another.

    Elements are the same if their encoded sequences are, so one interval under two names counts, an anchor that
    is an enhancer here and a promoter there, and two intervals with one sequence. Overlap goes by the intervals of
    the elements table (0-based half-open) and is not chained: two elements that a third one bridges do not overlap.
    Where one of two elements has no coordinates they overlap if their sequences are the same; an enhancer without
    coordinates also overlaps those of its `locus`.

    Parameters
    ----------
    dataset : Dataset
        Every element is hashed once, here; audits then cost a few operations on arrays.
    """

    def __init__(self, dataset: Dataset) -> None:
        pairs, elements = dataset.pairs, dataset.elements
        self._identity = pd.factorize(np.array(dataset.digests, dtype=object))[0].astype(np.int64)
        self._ids = pairs[["enhancer_id", "promoter_id"]].to_numpy(np.int64)
        sequences = self._identity[self._ids]
        count = int(self._identity.max(initial=0)) + 1
        self._pair = sequences.min(axis=1) * count + sequences.max(axis=1)
        self._locus = pairs["locus"].to_numpy()
        start, end = (elements[name].to_numpy(np.int64) for name in ("start", "end"))
        self._placed = (elements["chrom"] != "").to_numpy(bool) & (start >= 0)
        # One axis for all chromosomes: each begins past the end of the one before.
        before = pd.factorize(elements["chrom"])[0].astype(np.int64) * (int(end.max(initial=0)) + 1)
        self._start, self._end = before + start, before + end

    def audit(self, part_a: Mask, part_b: Mask) -> Leakage:
        """Count the pairs of part B whose elements occur in part A.

        Parameters
        ----------
        part_a, part_b : bool array, shape (n_pairs,)
            Such as training and test pairs.
        """
        seen = self._have_sequence_of(self._used(part_a))[self._ids]
        rows_b = int(part_b.sum())

        def shared(row: Mask) -> Shared:
            rows = int(row[part_b].sum())
            return Shared(rows, rows / rows_b if rows_b else 0.0)

        return Leakage(
            int(part_a.sum()),
            rows_b,
            shared(seen[:, 0]),
            shared(seen[:, 1]),
            shared(np.isin(self._pair, self._pair[part_a])),
            shared(self.shares_locus(part_a)),
        )

    def overlaps(self, part_a: Mask, part_b: Mask) -> NDArray[np.int64]:
        """List which elements of part B overlap which elements of part A.

        The `locus` of enhancers without coordinates is not looked at: it belongs to pairs.

        Parameters
        ----------
        part_a, part_b : bool array, shape (n_pairs,)
            Such as training and test pairs.

        Returns
        -------
        int64 array, shape (n_overlaps, 2)
            Rows of the elements table, of part A and of part B; each two elements once.
        """
        used_a, used_b, placed = self._used(part_a), self._used(part_b), self._placed
        a, b = np.flatnonzero(used_a & placed), np.flatnonzero(used_b & placed)
        a = a[np.argsort(self._start[a], kind="stable")]
        longest = int((self._end[a] - self._start[a]).max(initial=0))
        # Of the intervals of A, by start: those that may end past the start of one of B, and start before its end.
        first = np.searchsorted(self._start[a], self._start[b] - longest, side="right")
        count = np.maximum(np.searchsorted(self._start[a], self._end[b], side="left") - first, 0)
        place = np.arange(int(count.sum())) + np.repeat(first - np.cumsum(count) + count, count)
        near = np.stack([a[place], np.repeat(b, count)], axis=1)
        found = [near[self._end[near[:, 0]] > self._start[near[:, 1]]]]
        for which_a, which_b in ((used_a & ~placed, used_b), (used_a & placed, used_b & ~placed)):
            sides = [
                pd.DataFrame({name: np.flatnonzero(which), "sequence": self._identity[which]})
                for name, which in (("a", which_a), ("b", which_b))
            ]
            found.append(sides[0].merge(sides[1], on="sequence")[["a", "b"]].to_numpy(np.int64))
        return np.concatenate(found)

    def _used(self, part: Mask) -> Mask:
        """Elements of the pairs of a part; shape (n_elements,)."""
        used = np.zeros(len(self._identity), dtype=bool)
        used[self._ids[part]] = True
        return used

    def _have_sequence_of(self, used: Mask) -> Mask:
        """Elements with the sequence of one of those used; shape (n_elements,)."""
        known = np.zeros(int(self._identity.max(initial=-1)) + 1, dtype=bool)
        known[self._identity[used]] = True
        return known[self._identity]

    def shares_locus(self, part: Mask) -> Mask:
        """Find the pairs with an element that overlaps one of a part: the rows that `Leakage.locus` counts.

        Parameters
        ----------
        part : bool array, shape (n_pairs,)
            Such as training pairs.

        Returns
        -------
        bool array, shape (n_pairs,)
            True in the pairs of the part itself, too.
        """
        used, placed = self._used(part), self._placed
        # Of the intervals that start before this one ends, have all ended before it starts?
        begun = np.searchsorted(np.sort(self._start[used & placed]), self._end, side="left")
        ended = np.searchsorted(np.sort(self._end[used & placed]), self._start, side="right")
        overlap = placed & (begun > ended)
        overlap |= self._have_sequence_of(used & ~placed) | (~placed & self._have_sequence_of(used))
        same_locus = ~placed[self._ids[:, 0]] & np.isin(self._locus, self._locus[part])
        return overlap[self._ids].any(axis=1) | same_locus


class PartLeakage(Model):
    """A `Leakage` between two parts of a split."""

    part_a: str
    part_b: str
    rows_a: int
    rows_b: int
    enhancer: Shared
    promoter: Shared
    pair: Shared
    locus: Shared


class SplitAudit(Model):
    """The split that the tables came with, audited: `audit.json`."""

    format_version: Literal[1] = 1
    parts: tuple[str, ...]
    """Those present, of train, val and test."""
    leakage: tuple[PartLeakage, ...]
    """Of every two parts."""


def split_audit(dataset: Dataset) -> SplitAudit:
    """Audit every two parts of the split that the tables came with."""
    auditor = LeakageAuditor(dataset)
    part = dataset.pairs["split"].to_numpy()
    present = tuple(name for name in SPLITS if (part == name).any())
    audits = [
        PartLeakage(part_a=a, part_b=b, **vars(auditor.audit(part == a, part == b)))
        for a, b in combinations(present, 2)
    ]
    return SplitAudit(parts=present, leakage=tuple(audits))
