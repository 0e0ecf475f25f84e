"""The bases themselves in bins: what the trainable stems read.

Here belong the layout of an element in bins and its reverse complement; both are described in ``docs/stem.md``.
This module does NOT know what reads them nor where they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from episode.dna import UNKNOWN
from episode.encode.bins import bin_count, bin_origin, lacking_bases

__all__ = ["BASES_VERSION", "HALVED", "BaseLayout", "mirror_bases"]

BASES_VERSION = 1
"""Raised whenever the same sequences give other rows than before."""
HALVED = UNKNOWN + 1
"""An unknown base as the first place of an element whose bins have their edges in the middle of bases."""


class BaseLayout:
    """Divides elements in bins of equal width, symmetrically about their middle.

    Parameters
    ----------
    bin : int
        Base pairs of a bin.
    """

    def __init__(self, bin: int) -> None:
        self.width = bin

    def __call__(self, elements: Sequence[np.ndarray]) -> np.ndarray:
        """Divide several elements, one after another.

        Where an odd number of bases is lacking, the bins begin half a base past the first place of their row: the
        first place is then `HALVED`, and one base more is lacking on the left than on the right.

        Parameters
        ----------
        elements : sequence of np.ndarray, each shape (length,), uint8
            A=0, C=1, G=2, T=3, anything else unknown.

        Returns
        -------
        np.ndarray, shape (total_bins, bin), uint8
            A=0, C=1, G=2, T=3, `UNKNOWN` or `HALVED`.
        """
        lengths = np.array([len(codes) for codes in elements], dtype=np.int64)
        places = bin_count(lengths, self.width) * self.width
        rows = np.full(int(places.sum()), UNKNOWN, dtype=np.uint8)
        starts = np.cumsum(places) - places
        lefts = starts + bin_origin(lengths, self.width)
        for left, codes in zip(lefts.tolist(), elements, strict=True):
            rows[left : left + len(codes)] = np.minimum(codes, UNKNOWN)
        rows[starts[lacking_bases(lengths, self.width) % 2 == 1]] = HALVED
        return rows.reshape(-1, self.width)


def mirror_bases(rows: Tensor, mask: Tensor, reverse: Tensor) -> Tensor:
    """Turn the bases of elements in bins into those of their reverse complements.

    Rows (n, max_bins, bin), uint8, as from `BaseLayout`, padded with `UNKNOWN`; `mask` and `reverse` as those of
    `episode.inference.orientation.mirror`. Returns a copy.
    """
    flat = rows.flatten(1)
    place = torch.arange(flat.shape[1], device=rows.device).expand(flat.shape)
    first = (flat[:, :1] == HALVED).long()  # the place that has no partner where edges lie within bases
    partner = mask.sum(1, keepdim=True) * rows.shape[2] - 1 + first - place
    inside = (place >= first) & (partner >= first) & reverse[:, None]
    other = flat.gather(1, torch.where(inside, partner, place))
    return torch.where(inside & (other < UNKNOWN), 3 - other, other).view(rows.shape)
