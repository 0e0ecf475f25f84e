"""Choosing pairs by part of a split, cell line, chromosome or place.

Works on datasets; reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.dataset import Dataset
from episode.data.pairs import SPLITS
from episode.errors import EpisodeError
from episode.schema import did_you_mean
from episode.seeds import derive_seed

__all__ = ["check_names", "held_out_part", "select_rows"]

Mask = npt.NDArray[np.bool_]


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
        check_names("cell line", cell_lines, [*pairs["cell_line"].unique(), *pairs["environment"].unique()])
        mask &= pairs[["cell_line", "environment"]].isin(list(cell_lines)).any(axis=1).to_numpy()
    if chromosomes is not None:
        check_names("chromosome", chromosomes, (name for name in pairs["enhancer_chrom"].unique() if name))
        mask &= pairs["enhancer_chrom"].isin(list(chromosomes)).to_numpy()
    return mask


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
            listed = ", ".join(exist) or "none"
            raise EpisodeError(f"{what} {name!r} is not in the dataset, which has {listed}{did_you_mean(name, exist)}")


def held_out_part(
    pairs: pd.DataFrame, rows: Mask, *, share: float, gap: int, seed: int, at: float = 1.0, span: float = 1.0
) -> tuple[Mask, Mask]:
    """Hold out a part of every chromosome; of pairs without coordinates whole loci, chosen by their numbers.

    Parameters
    ----------
    pairs : DataFrame, n_pairs rows
        Pair table of a dataset.
    rows : bool array, shape (n_pairs,)
        The only rows that are looked at.
    share : float
        Of the rows of each chromosome (of the loci, without coordinates), in (0, 1).
    gap : int
        Minimum distance in bp from a row that stays to the held-out part.
    seed : int
        Decides which loci are held out; the chromosomes do not depend on it.
    span : float
        The gap is at most this fraction of what the rows of a chromosome span.
    at : float
        Where along each chromosome, from 0 (its beginning, by number of rows) to 1 (its end).

    Returns
    -------
    held_out, near : bool array, shape (n_pairs,)
        Disjoint parts of `rows`: those that start in the held-out part, and those that come closer to it than `gap`.
    """
    held_out = np.zeros(len(pairs), dtype=bool)
    near = held_out.copy()
    low, high = (1 - share) * at, (1 - share) * at + share
    placed = rows & pairs["has_coordinates"].to_numpy(bool)
    chrom = pairs["enhancer_chrom"].to_numpy()
    starts = pairs[["enhancer_start", "promoter_start"]].to_numpy().min(axis=1)
    ends = pairs[["enhancer_end", "promoter_end"]].to_numpy().max(axis=1)
    for name in np.unique(chrom[placed]):
        here = placed & (chrom == name)
        near_by = min(gap, span * (ends[here].max() - starts[here].min()))
        first = np.quantile(starts[here], low)
        last = np.quantile(starts[here], high) if at < 1 else np.inf
        inside = here & (starts >= first) & (starts < last)
        held_out |= inside
        near |= here & ~inside & (ends > first - near_by) & (starts < ends[inside].max(initial=0) + near_by)
    elsewhere = rows & ~placed
    locus = pairs["locus"].to_numpy()
    place = {n: derive_seed(seed, "locus", int(n)) % 1000 for n in np.unique(locus[elsewhere])}
    chosen = [n for n, at_thousand in place.items() if low * 1000 <= (at_thousand - share * 1000) % 1000 < high * 1000]
    held_out |= elsewhere & np.isin(locus, chosen)
    return held_out, near
