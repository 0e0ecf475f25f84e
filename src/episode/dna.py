"""Elements as arrays: which bases are read around an element, how bases become codes, and the mirror rule.

Pure functions on arrays and strings. This module does NOT know tables, files or genomes.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "DNA_ALPHABET",
    "UNKNOWN",
    "crop_offset",
    "decode",
    "digest",
    "encode",
    "gc_content",
    "is_mirrored",
    "overlap_groups",
    "reverse_complement",
    "reverse_kmers",
    "unknown_fraction",
    "window_bounds",
]

DNA_ALPHABET = "ACGTRYSWKMBDHVN"
"""Letters a sequence may hold, in either case: the bases and the IUPAC codes for more than one base."""

UNKNOWN = 4
"""Code of every letter that is not A, C, G or T."""

Codes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Position = TypeVar("Position", int, Integers)

_CODE_OF_BYTE = np.full(256, UNKNOWN, dtype=np.uint8)
for _code, _letter in enumerate("ACGT"):
    _CODE_OF_BYTE[[ord(_letter), ord(_letter.lower())]] = _code
_COMPLEMENT = np.array([3, 2, 1, 0, UNKNOWN], dtype=np.uint8)
_LETTER_OF_CODE = np.frombuffer(b"ACGTN", dtype=np.uint8)


def encode(sequence: str) -> Codes:
    """Turn DNA as text, 5' to 3', into codes: A=0, C=1, G=2, T=3 in either case, anything else 4."""
    return _CODE_OF_BYTE[np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)]


def decode(codes: Codes) -> str:
    """Turn codes into upper-case letters, 4 into N."""
    return _LETTER_OF_CODE[codes].tobytes().decode("ascii")


def reverse_complement(codes: Codes) -> Codes:
    """Return the codes of the other strand, 5' to 3'."""
    return _COMPLEMENT[codes[::-1]]


def reverse_kmers(k: int) -> Integers:
    """Number of the reverse complement of each k-mer, shape (4**k,).

    The number of a k-mer is read to the base 4 with A=0, C=1, G=2, T=3.
    """
    rest, reverse = np.arange(4**k), np.zeros(4**k, dtype=np.int64)
    for _ in range(k):
        rest, digit = np.divmod(rest, 4)
        reverse = reverse * 4 + 3 - digit
    return reverse


def window_bounds(start: Position, end: Position, window: int) -> tuple[Position, Position]:
    """Return start and end of a window of `window` bp around the midpoint of elements; 0 means the whole element.

    All are 0-based half-open; the window may reach past the ends of the chromosome.
    """
    if window == 0:
        return start, end
    left = (start + end) // 2 - window // 2
    return left, left + window


def crop_offset(length: int, window: int) -> tuple[int, int]:
    """Return start and end, within a sequence of `length`, of the part that `window_bounds` would read.

    A sequence no longer than the window is kept whole.
    """
    if window == 0 or length <= window:
        return 0, length
    left = length // 2 - window // 2
    return left, left + window


def is_mirrored(
    enhancer_start: Integers, enhancer_end: Integers, promoter_start: Integers, promoter_end: Integers
) -> npt.NDArray[np.bool_]:
    """Mirror rule: whether the midpoint of the promoter lies upstream of that of the enhancer; all of shape (n,)."""
    return promoter_start + promoter_end < enhancer_start + enhancer_end


def gc_content(codes: Codes) -> float:
    """Return the fraction of C and G among the known bases; NaN where no base is known."""
    count = np.bincount(codes, minlength=5)
    known = int(count[:4].sum())
    return float(count[1] + count[2]) / known if known else float("nan")


def unknown_fraction(codes: Codes) -> float:
    """Return the fraction of bases that are not A, C, G or T; 1 for an empty sequence."""
    return float(np.count_nonzero(codes == UNKNOWN)) / codes.size if codes.size else 1.0


def digest(codes: Codes) -> str:
    """Return a short text that two elements share only if their encoded sequences are equal."""
    return hashlib.blake2b(codes.tobytes(), digest_size=16).hexdigest()


def overlap_groups(group: npt.NDArray[np.int64], start: Integers, end: Integers) -> Integers:
    """Number the clusters of intervals that overlap, directly or through others.

    Parameters
    ----------
    group : int64 array, shape (n,)
        Only intervals of one group (chromosome) can overlap.
    start, end : int64 array, shape (n,)
        0-based half-open; intervals that only touch do not overlap.

    Returns
    -------
    int64 array, shape (n,)
        Cluster of each interval, numbered from 0 in order of group and start.
    """
    order = np.lexsort((end, start, group))
    span = int(end.max(initial=0) - start.min(initial=0)) + 1  # so that groups lie one after another on one axis
    first, last = ((side + group * span)[order] for side in (start, end))
    fresh = first[1:] >= np.maximum.accumulate(last)[:-1]
    cluster = np.empty(len(start), dtype=np.int64)
    cluster[order] = np.append(0, np.cumsum(fresh))[: len(start)]
    return cluster
