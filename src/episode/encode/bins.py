"""Where bins start and end: the only bin arithmetic.

An element of L bases has ``ceil(L / bin)`` bins of equal width, laid symmetrically about its middle (``docs/stem.md``).
Where L is no multiple of the width, the first and the last bin stand out of the element by half of what is *lacking*;
of an odd number of lacking bases that is half a base, so the edges of all bins lie within bases. Positions count bases
of the element, 0-based half-open; centres of sites lie on half bases, so some positions here are doubled.

Throughout, `length` is that of an element and `bin` the width of its bins, in base pairs. This module does NOT know
what is read in a bin.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "bin_bounds",
    "bin_count",
    "bin_origin",
    "bins_around",
    "bins_at",
    "lacking_bases",
    "reversed_bins",
    "whole_bins",
]

Count = TypeVar("Count", int, np.ndarray)


def bin_count(length: Count, bin: int) -> Count:
    """Number of bins of elements: length over bin width, rounded up."""
    return -(-length // bin)


def lacking_bases(length: Count, bin: int) -> Count:
    """Bases that elements lack to fill their bins."""
    return bin_count(length, bin) * bin - length


def bin_origin(length: Count, bin: int) -> Count:
    """Whole bases between the start of the first bin and the first base of an element.

    Where an odd number of bases is lacking, the first bin begins half a base later.
    """
    return (lacking_bases(length, bin) + 1) // 2


def bin_bounds(place: int, length: int, bin: int) -> tuple[int, int]:
    """Bases of an element that bin `place` covers, a base on an edge included, 0-based half-open."""
    start = 2 * place * bin - lacking_bases(length, bin)  # in half bases
    return max(start // 2, 0), min(-(-(start + 2 * bin) // 2), length)


def bins_at(centre: int, length: int, bin: int) -> tuple[int, ...]:
    """Bins that hold the centre of a site, in half bases (its ``start + end``): two where it lies on an edge."""
    place, past = divmod(centre + lacking_bases(length, bin), 2 * bin)
    return tuple(at for at in ((place - 1, place) if past == 0 else (place,)) if 0 <= at < bin_count(length, bin))


def bins_around(start: int, end: int, reach: int, length: int, bin: int) -> tuple[int, int]:
    """Bins, half-open, that may hold the centre of a site of at most `reach` bp with a base in [start, end)."""
    lacking = lacking_bases(length, bin)
    first = (2 * start - reach - 2 + lacking) // (2 * bin)
    last = (2 * end + reach + 2 + lacking) // (2 * bin) + 1
    return max(first, 0), min(last, bin_count(length, bin))


def whole_bins(first: int, last: int, reach: int, length: int, bin: int) -> tuple[int, int]:
    """Stretch of an element, 0-based half-open, that holds all sites of at most `reach` bp centred in [first, last).

    Its ends lie whole bins away from those of the element, so that bins of the stretch are bins of the element.
    """
    around = bin_count(reach + lacking_bases(length, bin), 2 * bin)
    before, after = max(first - around, 0), max(bin_count(length, bin) - last - around, 0)
    return before * bin, length - after * bin


def reversed_bins(mask: Tensor) -> Tensor:
    """Bin that each bin comes from where the bin order of padded elements is reversed, shape (n, max_bins), int64.

    `mask` (n, max_bins), bool, is True at the bins of each element; the padding behind them stays in place.
    """
    place = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask, mask.sum(1, keepdim=True) - 1 - place, place)
