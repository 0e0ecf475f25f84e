"""What the elements of pairs are made of, whichever model reads them: the closed-form Student sees no more of them.

Members of a cross-fitted run have representations of their own; composition is the same for all. Strand and
orientation do not matter. This module does NOT know potentials, labels or environments.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from episode.config import StemConfig
from episode.dna import UNKNOWN, reverse_kmers
from episode.encode.motifs import MotifBank
from episode.encode.store import ElementStore
from episode.inference.pairs import PairRows
from episode.model.stem import REFERENCE, start_thresholds

__all__ = ["Composition"]

BLOCK = 256
"""Elements read at a time."""
KMER = 4
"""Length of the k-mers that are counted where the store holds bases."""


class Composition:
    """Features of elements: the presence of each motif of the bank, or 4-mer frequencies where the store holds bases.

    Presence is ``sigmoid(best - threshold - log2(length / 1 kb))``: best site on either strand, in bits, and the score
    that a random site reaches with probability `StemConfig.site_p`; the last term is what a longer element gains by
    chance. A 4-mer and its reverse complement are one feature.

    Parameters
    ----------
    store : ElementStore
        Made with `bank` as `stem` says.
    """

    def __init__(self, store: ElementStore, bank: MotifBank, stem: StemConfig) -> None:
        self._store, self._bin = store, stem.bin
        self._threshold = start_thresholds(stem, bank) if stem.kind == "motif" else None

    def elements(self, element: np.ndarray) -> np.ndarray:
        """Features of elements, shape (n, features), float32."""
        parts = [self._block(element[start : start + BLOCK]) for start in range(0, len(element), BLOCK)]
        return np.concatenate(parts) if parts else np.zeros((0, self._block(np.arange(1)).shape[1]), np.float32)

    def pairs(self, rows: PairRows) -> np.ndarray:
        """Features of pairs, shape (n, 2 * features), float32: those of the enhancer, then those of the promoter."""
        sides = []
        for element in (rows.enhancer, rows.promoter):
            distinct, place = np.unique(element, return_inverse=True)
            sides.append(self.elements(distinct)[place.reshape(-1)])
        return np.concatenate(sides, axis=1)

    def _block(self, element: np.ndarray) -> np.ndarray:
        tokens, mask = self._store.gather(element)
        found = _kmers(tokens) if self._threshold is None else self._presence(tokens, mask)
        return np.asarray(found.numpy(), dtype=np.float32)

    def _presence(self, scores: Tensor, mask: Tensor) -> Tensor:
        assert self._threshold is not None
        doublings = (mask.sum(1) * self._bin / REFERENCE).log2()
        best = scores.masked_fill(~mask[:, :, None, None], -torch.inf).amax((1, 2))
        return torch.sigmoid(best - self._threshold - doublings[:, None])


def _kmers(bases: Tensor) -> Tensor:
    """Frequencies of 4-mers and their reverse complements among the sites of known bases; 0 where there are none."""
    letters = pad(bases.flatten(1).clamp(max=UNKNOWN).long(), (0, KMER - 1), value=UNKNOWN)
    windows = letters.unfold(1, KMER, 1)
    number = (windows * 4 ** torch.arange(KMER - 1, -1, -1)).sum(2)
    reverse = torch.from_numpy(reverse_kmers(KMER))
    known = (windows < UNKNOWN).all(2)
    canonical = torch.where(known, torch.minimum(number, reverse[number.clamp(max=4**KMER - 1)]), 4**KMER)
    counts = torch.zeros(len(bases), 4**KMER + 1).scatter_add_(1, canonical, torch.ones_like(canonical).float())
    kept = torch.unique(torch.minimum(torch.arange(4**KMER), reverse))
    return counts[:, kept] / known.sum(1, keepdim=True).clamp(min=1)
