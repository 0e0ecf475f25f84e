"""Choosing pairs by part of a split, cell line, chromosome or place, and counting what two parts have in common.

Works on datasets; reads and writes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.pairs import SPLITS
from episode.dna import digest
from episode.errors import EpisodeError
from episode.seeds import derive_seed

if TYPE_CHECKING:
    from episode.data.dataset import Dataset

__all__ = [
    "HeldOut",
    "Leakage",
    "LeakageAuditor",
    "Shared",
    "check_names",
    "held_out_part",
    "hold_out",
    "select_rows",
    "split_audit",
]

Mask = npt.NDArray[np.bool_]


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


@dataclass(frozen=True)
class HeldOut:
    """Masks over the pairs of a dataset; pairs in neither are to be left out."""

    train: Mask
    test: Mask


def select_rows(
    dataset: Dataset,
    split: str | None = None,
    cell_lines: Sequence[str] | None = None,
    chromosomes: Sequence[str] | None = None,
) -> Mask:
    """Choose pairs that meet every condition given.

    Parameters
    ----------
    dataset : Dataset
    split : str, optional
        "train", "val" or "test".
    cell_lines : sequence of str, optional
        Cell lines or environments (``cell_line:assay``).
    chromosomes : sequence of str, optional
        Chromosomes of the enhancer.

    Returns
    -------
    bool array, shape (n_pairs,)

    Raises
    ------
    EpisodeError
        If a name does not occur in the dataset; the message lists those that do.
    """
    pairs = dataset.pairs
    mask = np.ones(len(pairs), dtype=bool)
    if split is not None:
        check_names("split", [split], (name for name in SPLITS if (pairs["split"] == name).any()))
        mask &= (pairs["split"] == split).to_numpy()
    if cell_lines is not None:
        mask &= _in_cell_lines(pairs, cell_lines)
    if chromosomes is not None:
        mask &= _on_chromosomes(pairs, chromosomes)
    return mask


def hold_out(dataset: Dataset, *, cell_lines: Sequence[str] = (), chromosomes: Sequence[str] = ()) -> HeldOut:
    """Separate a test set that shares neither cell line nor chromosome with the training set.

    Parameters
    ----------
    dataset : Dataset
    cell_lines, chromosomes : sequence of str
        Held out. Test pairs have both (a condition without names does not count); training pairs have
        neither.

    Raises
    ------
    EpisodeError
        If a name does not occur in the dataset, or nothing is held out.
    """
    if not cell_lines and not chromosomes:
        raise EpisodeError("nothing is held out; name at least one cell line or chromosome")
    train = np.ones(len(dataset.pairs), dtype=bool)
    test = train.copy()
    for names, find in ((cell_lines, _in_cell_lines), (chromosomes, _on_chromosomes)):
        if names:
            held = find(dataset.pairs, names)
            train &= ~held
            test &= held
    return HeldOut(train, test)


def _in_cell_lines(pairs: pd.DataFrame, names: Sequence[str]) -> Mask:
    check_names("cell line", names, [*pairs["cell_line"].unique(), *pairs["environment"].unique()])
    return (pairs["cell_line"].isin(list(names)) | pairs["environment"].isin(list(names))).to_numpy()


def _on_chromosomes(pairs: pd.DataFrame, names: Sequence[str]) -> Mask:
    check_names("chromosome", names, (name for name in pairs["enhancer_chrom"].unique() if name))
    return pairs["enhancer_chrom"].isin(list(names)).to_numpy()


def check_names(what: str, asked: Iterable[str], present: Iterable[str]) -> None:
    """Refuse names that do not occur; the message lists those that do.

    Raises
    ------
    EpisodeError
        If one of `asked` is not among `present`.
    """
    exist = sorted(set(present))
    for name in asked:
        if name not in exist:
            near = difflib.get_close_matches(name, exist, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(exist) if exist else "none"
            raise EpisodeError(f"{what} {name!r} is not in the dataset, which has {listed}{meant}")


def held_out_part(pairs: pd.DataFrame, rows: Mask, *, share: float, gap: int, seed: int) -> tuple[Mask, Mask]:
    """Hold out the end of every chromosome; of pairs without coordinates whole loci, chosen by their numbers.

    Parameters
    ----------
    pairs : DataFrame, n_pairs rows
        Pair table of a dataset.
    rows : bool array, shape (n_pairs,)
        The only rows that are looked at.
    share : float
        Of the rows of each chromosome (of the loci, without coordinates), in (0, 1).
    gap : int
        Least distance in bp from the end of a row that stays to the start of the held-out part.
    seed : int
        Decides which loci are held out; the chromosomes do not depend on it.

    Returns
    -------
    held_out, near : bool array, shape (n_pairs,)
        Disjoint parts of `rows`: those that start in the held-out part, and those that come closer to it than `gap`.
    """
    held_out = np.zeros(len(pairs), dtype=bool)
    near = held_out.copy()
    placed = rows & pairs["has_coordinates"].to_numpy(bool)
    chrom = pairs["enhancer_chrom"].to_numpy()
    starts = pairs[["enhancer_start", "promoter_start"]].to_numpy().min(axis=1)
    ends = pairs[["enhancer_end", "promoter_end"]].to_numpy().max(axis=1)
    for name in np.unique(chrom[placed]):
        here = placed & (chrom == name)
        border = np.quantile(starts[here], 1 - share)
        held_out |= here & (starts >= border)
        near |= here & (starts < border) & (ends > border - gap)
    elsewhere = rows & ~placed
    locus = pairs["locus"].to_numpy()
    chosen = [n for n in np.unique(locus[elsewhere]) if derive_seed(seed, "locus", int(n)) % 1000 < share * 1000]
    held_out |= elsewhere & np.isin(locus, chosen)
    return held_out, near


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
        codes, offset = np.asarray(dataset.codes), elements["offset"].to_numpy()
        digests = [digest(codes[o : o + n]) for o, n in zip(offset, elements["length"].to_numpy(), strict=True)]
        self._identity = pd.factorize(pd.Series(digests, dtype="str"))[0].astype(np.int64)
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
            shared(self._shares_place(part_a)),
        )

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

    def _shares_place(self, part: Mask) -> Mask:
        """Pairs with an element that overlaps one of a part; shape (n_pairs,)."""
        used, placed = self._used(part), self._placed
        # Of the intervals that start before this one ends, have all ended before it starts?
        begun = np.searchsorted(np.sort(self._start[used & placed]), self._end, side="left")
        ended = np.searchsorted(np.sort(self._end[used & placed]), self._start, side="right")
        overlap = placed & (begun > ended)
        overlap |= self._have_sequence_of(used & ~placed) | (~placed & self._have_sequence_of(used))
        same_locus = ~placed[self._ids[:, 0]] & np.isin(self._locus, self._locus[part])
        return overlap[self._ids].any(axis=1) | same_locus


def split_audit(dataset: Dataset) -> dict[str, Any]:
    """Audit every two parts of the split that the tables came with, as JSON-ready content (`audit.json`)."""
    auditor = LeakageAuditor(dataset)
    part = dataset.pairs["split"].to_numpy()
    present = [name for name in SPLITS if (part == name).any()]
    audits = []
    for a, b in combinations(present, 2):
        audits.append({"part_a": a, "part_b": b, **asdict(auditor.audit(part == a, part == b))})
    return {"parts": present, "leakage": audits}
