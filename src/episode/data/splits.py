"""Choosing pairs by part of a split, cell line or chromosome, and counting what two parts have in common.

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

from episode.data.elements import digest
from episode.data.pairs import SPLITS
from episode.errors import EpisodeError

if TYPE_CHECKING:
    from episode.data.dataset import Dataset

__all__ = ["HeldOut", "Leakage", "Shared", "hold_out", "leakage_audit", "select_rows", "split_audit"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shared:
    """Rows of part B that share something with part A: how many, and their share of part B (0 if empty)."""

    rows: int
    share: float


@dataclass(frozen=True)
class Leakage:
    """What part B of a dataset has in common with part A.

    Parameters
    ----------
    rows_a, rows_b : int
        Pairs in each part.
    enhancer, promoter : Shared
        Rows of B whose enhancer (promoter) has the encoded sequence of one in A.
    pair : Shared
        Rows of B whose enhancer and promoter are a pair in A.
    locus : Shared
        Rows of B whose enhancer overlaps one of A.
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
        _check_names("split", [split], (name for name in SPLITS if (pairs["split"] == name).any()))
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
    _check_names("cell line", names, [*pairs["cell_line"].unique(), *pairs["environment"].unique()])
    return (pairs["cell_line"].isin(list(names)) | pairs["environment"].isin(list(names))).to_numpy()


def _on_chromosomes(pairs: pd.DataFrame, names: Sequence[str]) -> Mask:
    _check_names("chromosome", names, (name for name in pairs["enhancer_chrom"].unique() if name))
    return pairs["enhancer_chrom"].isin(list(names)).to_numpy()


def _check_names(what: str, asked: Iterable[str], present: Iterable[str]) -> None:
    exist = sorted(set(present))
    for name in asked:
        if name not in exist:
            near = difflib.get_close_matches(name, exist, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(exist) if exist else "none"
            raise EpisodeError(f"{what} {name!r} is not in the dataset, which has {listed}{meant}")


def leakage_audit(dataset: Dataset, part_a: Mask, part_b: Mask) -> Leakage:
    """Count the pairs of part B whose elements occur in part A.

    Elements are the same if their encoded sequences are, so one interval under two names counts, and so do
    two intervals with one sequence.

    Parameters
    ----------
    dataset : Dataset
    part_a, part_b : bool array, shape (n_pairs,)
        Such as training and test pairs.
    """
    return _leakage(dataset.pairs, _identities(dataset), part_a, part_b)


def split_audit(dataset: Dataset) -> dict[str, Any]:
    """Audit every two parts of the split that the tables came with, as JSON-ready content (`audit.json`)."""
    identity = _identities(dataset)
    part = dataset.pairs["split"].to_numpy()
    present = [name for name in SPLITS if (part == name).any()]
    audits = []
    for a, b in combinations(present, 2):
        leakage = _leakage(dataset.pairs, identity, part == a, part == b)
        audits.append({"part_a": a, "part_b": b, **asdict(leakage)})
    return {"parts": present, "leakage": audits}


def _identities(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Number the distinct encoded sequences; one number an element."""
    digests = [digest(dataset.sequence(i)) for i in range(len(dataset.elements))]
    return pd.factorize(pd.Series(digests, dtype="str"))[0].astype(np.int64)


def _leakage(pairs: pd.DataFrame, identity: npt.NDArray[np.int64], part_a: Mask, part_b: Mask) -> Leakage:
    enhancer = identity[pairs["enhancer_id"].to_numpy()]
    promoter = identity[pairs["promoter_id"].to_numpy()]
    pair = enhancer * (int(identity.max(initial=0)) + 1) + promoter
    rows_b = int(part_b.sum())

    def shared(key: npt.NDArray[Any]) -> Shared:
        rows = int(np.isin(key[part_b], key[part_a]).sum())
        return Shared(rows, rows / rows_b if rows_b else 0.0)

    return Leakage(
        int(part_a.sum()),
        rows_b,
        shared(enhancer),
        shared(promoter),
        shared(pair),
        shared(pairs["locus"].to_numpy()),
    )
