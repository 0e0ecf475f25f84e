"""Choosing pairs by part of a split, cell line, chromosome or place.

Works on datasets; reads and writes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.dataset import Dataset
from episode.data.pairs import SPLITS
from episode.errors import EpisodeError
from episode.seeds import derive_seed

__all__ = [
    "HeldOut",
    "check_names",
    "held_out_part",
    "hold_out",
    "select_rows",
]

Mask = npt.NDArray[np.bool_]


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
