"""What the tables of features are made of: oriented pairs, motif maxima, k-mer frequencies.

Here belongs everything that is computed from sequences and orientations without labels. This module does NOT know
folds, labels, or what is learned from a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from episode.data.dataset import Dataset
from episode.dna import UNKNOWN, reverse_kmers
from episode.encode.motifs import MotifBank
from episode.encode.scanner import FLOOR
from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.inference.orientation import OrientedPairs, mirror, orientations

__all__ = [
    "CTCF",
    "FORWARD",
    "REVERSE",
    "ElementTable",
    "Features",
    "canonical_kmers",
    "ctcf_index",
    "elements_in_use",
    "kmer_table",
    "motif_table",
    "oriented_maxima",
    "oriented_pairs",
]

CTCF = "MA0139"
"""JASPAR's matrix of CTCF, any version. Loops stand between convergent sites: forward upstream, reverse downstream."""
FORWARD, REVERSE = 0, 1


Features = Callable[[OrientedPairs], NDArray[np.float32]]
"""From m oriented pairs to a table of shape (m, n_features)."""


@dataclass(frozen=True)
class ElementTable:
    """Numbers of the elements in use.

    Parameters
    ----------
    ids : ndarray, shape (n,), int64
        Element ids, ascending, distinct.
    numbers : ndarray, shape (n, ...), float32
    """

    ids: NDArray[np.int64]
    numbers: NDArray[np.float32]

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Look elements up, repeats allowed; shape (len(ids), ...).

        Raises
        ------
        IndexError
            If an element is not in the table.
        """
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        if len(ids) and not (len(self.ids) and np.array_equal(self.ids[place], ids)):
            raise IndexError("an element was asked for that the table does not hold")
        return self.numbers[place]


def oriented_pairs(dataset: Dataset, rows: NDArray[np.int64]) -> OrientedPairs:
    """Orient some pairs of a dataset by the mirror rule.

    Parameters
    ----------
    rows : ndarray, shape (n_pairs,), int64
        Rows of ``dataset.pairs``, in any order.
    """
    pairs = dataset.pairs
    mirrored, oriented = (pairs[name].to_numpy(bool)[rows] for name in ("mirrored", "has_coordinates"))
    pair, mirrored = orientations(mirrored, oriented)
    enhancer, promoter = (pairs[name].to_numpy(np.int64)[rows[pair]] for name in ("enhancer_id", "promoter_id"))
    return OrientedPairs(pair, enhancer, promoter, mirrored)


def elements_in_use(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids of the elements of some pairs, ascending, distinct."""
    return np.unique(dataset.pairs[["enhancer_id", "promoter_id"]].to_numpy(np.int64)[rows])


def motif_table(store: ElementStore, ids: NDArray[np.int64], motifs: NDArray[np.int64] | None = None) -> ElementTable:
    """Best score of each motif on each strand of whole elements, read one element at a time.

    Parameters
    ----------
    ids : ndarray, shape (n,), int64
        Element ids, ascending, distinct.
    motifs : ndarray, shape (k,), int64, optional
        Positions in the bank; all if not given.

    Returns
    -------
    ElementTable
        Numbers of shape (n, 2, k) in bits; strand 0 is the forward strand of the element as stored.
    """
    chosen = np.arange(store.n_motifs) if motifs is None else motifs
    numbers = np.full((len(ids), 2, len(chosen)), FLOOR, dtype=np.float32)
    for best, element in zip(numbers, ids.tolist(), strict=True):
        tokens = store.rows(element)
        part = tokens if motifs is None else tokens[:, :, chosen]
        best[:] = part.astype(np.float32).max(axis=0, initial=FLOOR)
    return ElementTable(ids, numbers)


def oriented_maxima(table: ElementTable, which: OrientedPairs) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Motif maxima of both elements of each oriented pair, strands as they are read.

    Parameters
    ----------
    table : ElementTable
        As from `motif_table`.

    Returns
    -------
    enhancer, promoter : ndarray, each of shape (m, 2, k), float32
        The enhancer is the upstream element.
    """
    mirrored, bin = torch.from_numpy(which.mirrored), torch.ones((len(which), 1), dtype=torch.bool)
    enhancer, promoter = (
        mirror(torch.from_numpy(table.rows(ids))[:, None], bin, mirrored)[:, 0].numpy()
        for ids in (which.enhancer, which.promoter)
    )
    return enhancer, promoter


def ctcf_index(bank: MotifBank) -> int:
    """Position of CTCF in a bank.

    Raises
    ------
    EpisodeError
        If the bank has no `CTCF`.
    """
    try:
        return bank.index(CTCF)
    except KeyError:
        raise EpisodeError(
            f"the rows on CTCF need the matrix {CTCF}, and the {len(bank)} motifs of this bank do not hold it; "
            "lower stem.min_information or raise stem.max_similarity"
        ) from None


def canonical_kmers(k: int) -> NDArray[np.int64]:
    """Number the k-mers so that a k-mer and its reverse complement share a number.

    Parameters
    ----------
    k : int
        At least 1.

    Returns
    -------
    ndarray, shape (4**k,), int64
        For each k-mer, read as a number to the base 4 with A=0, C=1, G=2, T=3, its class 0, 1, ... in the order of the
        smaller of the two.
    """
    return np.unique(np.minimum(np.arange(4**k), reverse_kmers(k)), return_inverse=True)[1].astype(np.int64)


def kmer_table(dataset: Dataset, ids: NDArray[np.int64], k: int = 5) -> ElementTable:
    """Frequencies of k-mers in whole elements, both strands taken together.

    Parameters
    ----------
    ids : ndarray, shape (n,), int64
        Element ids, ascending, distinct.

    Returns
    -------
    ElementTable
        Numbers of shape (n, n_classes), rows sum to 1 (0 where an element holds no k-mer of known bases); 512 classes
        for k = 5.
    """
    kind = canonical_kmers(k)
    numbers = np.zeros((len(ids), int(kind.max()) + 1), dtype=np.float32)
    for share, element in zip(numbers, ids.tolist(), strict=True):
        number, known = _kmers(np.asarray(dataset.sequence(element)), k)
        count = np.bincount(kind[number[known]], minlength=len(share))
        share[:] = count / max(1, int(count.sum()))
    return ElementTable(ids, numbers)


def _kmers(codes: NDArray[np.uint8], k: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number of the k-mer at each position, and whether all its bases are known."""
    places = max(0, len(codes) - k + 1)
    number = np.zeros(places, dtype=np.int64)
    known = np.ones(places, dtype=bool)
    for shift in range(k):
        base = codes[shift : shift + places]
        number = number * 4 + np.minimum(base, 3)
        known &= base < UNKNOWN
    return number, known
