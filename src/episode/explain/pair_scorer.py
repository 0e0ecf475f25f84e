"""U_I of one pair while one or both of its elements are changed; the partner's codes are made once.

This module does NOT know why elements are changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from episode.encode.store import ElementStore
from episode.explain.mutations import ElementScores
from episode.inference.element_cache import encode_elements
from episode.inference.orientation import mean_orientation
from episode.model.backbone import Backbone, ElementCodes

__all__ = ["KINDS", "Pair", "PairProbe"]

KINDS = ("enhancer", "promoter")


@dataclass(frozen=True)
class Pair:
    """A pair to explain.

    Parameters
    ----------
    enhancer, promoter : int
        Rows of the element store.
    orientations : tuple of bool
        Mirrored or not; both where coordinates are unknown, and U_I is their mean.
    distance : float
        bp, NaN where unknown; read by a contact decay alone.
    """

    enhancer: int
    promoter: int
    orientations: tuple[bool, ...]
    distance: float = math.nan

    def element(self, kind: str) -> int:
        """Row of one of the two."""
        return self.enhancer if kind == "enhancer" else self.promoter


class PairProbe:
    """Scores a pair, its elements changed or not.

    Parameters
    ----------
    backbone : Backbone
        Reads scores.
    scores : ElementScores
    pair : Pair
    """

    def __init__(self, backbone: Backbone, scores: ElementScores, pair: Pair) -> None:
        self.backbone, self.pair = backbone, pair
        self._codes = {kind: self._encode(scores.of(pair.element(kind)), kind) for kind in KINDS}

    @torch.no_grad()
    def _encode(self, variants: ElementStore, kind: str) -> list[ElementCodes]:
        """Encode all rows of a store in every orientation."""
        rows = np.arange(len(variants))
        return [
            encode_elements(self.backbone, variants, kind, rows, np.full(len(rows), mirrored))
            for mirrored in self.pair.orientations
        ]

    def potential(self) -> float:
        """U_I of the pair as it is."""
        return float(self._score(self._codes["enhancer"], self._codes["promoter"])[0, 0])

    @torch.no_grad()
    def distance_term(self) -> float:
        """What the distance adds to U_I, 0 where it is unknown; NaN where the model has no contact decay."""
        if self.backbone.decay is None:
            return math.nan
        device = self._codes["enhancer"][0].mask.device
        return float(self.backbone.decay(torch.tensor([self.pair.distance], dtype=torch.float64, device=device)))

    def changed(self, kind: str, variants: ElementStore) -> np.ndarray:
        """U_I with each row of `variants` in place of one element, shape (len(variants),)."""
        codes = self._codes | {kind: self._encode(variants, kind)}
        return self._score(codes["enhancer"], codes["promoter"]).ravel()

    def changed_both(self, enhancers: ElementStore, promoters: ElementStore) -> np.ndarray:
        """U_I of every row of `enhancers` with every row of `promoters`, shape (n, m)."""
        return self._score(self._encode(enhancers, "enhancer"), self._encode(promoters, "promoter"))

    @torch.no_grad()
    def _score(self, enhancers: list[ElementCodes], promoters: list[ElementCodes]) -> np.ndarray:
        n, m = len(enhancers[0].mask), len(promoters[0].mask)
        left = torch.arange(n).repeat_interleave(m)
        right = torch.arange(m).repeat(n)
        potentials = []
        for enhancer, promoter in zip(enhancers, promoters, strict=True):
            device = enhancer.mask.device
            distance = torch.full((n * m,), self.pair.distance, dtype=torch.float64, device=device)
            output = self.backbone(enhancer.take(left.to(device)), promoter.take(right.to(device)), distance)
            potentials.append(output.potential.double().cpu().numpy())
        return mean_orientation(potentials).reshape(n, m)
