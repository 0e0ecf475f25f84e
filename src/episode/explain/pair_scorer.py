"""U_I of one pair, by every member of a run, while one or both of its elements are changed.

The codes of the partner are made once. This module does NOT know why elements are changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from episode.encode.store import ElementStore
from episode.explain.mutations import Edit, ElementScores
from episode.explain.sites import Site
from episode.inference.element_cache import encode_elements
from episode.inference.orientation import mean_orientation
from episode.model.backbone import Backbone, ElementCodes

__all__ = ["KINDS", "Pair", "PairProbe", "Reader", "spread"]

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


def spread(values: np.ndarray) -> np.ndarray:
    """Sample standard deviation over members, the first axis; NaN with one."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    sd: np.ndarray = values.std(axis=0, ddof=1)
    return sd


@dataclass(frozen=True)
class Reader:
    """One member of a run, as it reads elements that are changed.

    Parameters
    ----------
    backbone : Backbone
        Reads scores.
    scores : ElementScores
        Those that it reads; members may share them.
    unit : float
        What one unit of its own U_I is in the units of predictions.
    """

    backbone: Backbone
    scores: ElementScores
    unit: float = 1.0


class PairProbe:
    """Scores a pair, its elements changed or not, up to a constant of each reader.

    The first axis of every result is that of the readers.

    Parameters
    ----------
    readers : sequence of Reader
    pair : Pair
    """

    def __init__(self, readers: Sequence[Reader], pair: Pair) -> None:
        self.readers, self.pair = readers, pair
        self._codes = {kind: self._encode([r.scores.of(pair.element(kind)) for r in readers], kind) for kind in KINDS}

    def codes(self, kind: str) -> np.ndarray:
        """Bases of one element; see `ElementScores.codes`."""
        return self.readers[0].scores.codes(self.pair.element(kind))

    def bins(self, kind: str) -> int:
        """Bins of one element."""
        return self.readers[0].scores.bins(self.pair.element(kind))

    def edited(self, kind: str, edits: Sequence[Edit]) -> list[ElementStore]:
        """Return what each reader reads of one element, each edit made alone; see `ElementScores.edited`."""
        return self._by_scores(lambda scores, _: scores.edited(self.pair.element(kind), edits))

    def own_channel(self, kind: str, edited: Sequence[ElementStore], sites: Mapping[int, Site]) -> list[ElementStore]:
        """Return the same where only what the motif of a site reads changes; see `ElementScores.own_channel`."""
        element = self.pair.element(kind)
        return self._by_scores(lambda scores, place: scores.own_channel(element, edited[place], sites))

    def _by_scores(self, make: Callable[[ElementScores, int], ElementStore]) -> list[ElementStore]:
        """Call `make` with the scores of each reader and its place, once where readers share their scores."""
        made: dict[ElementScores, ElementStore] = {}
        for place, reader in enumerate(self.readers):
            if reader.scores not in made:
                made[reader.scores] = make(reader.scores, place)
        return [made[reader.scores] for reader in self.readers]

    @torch.no_grad()
    def _encode(self, variants: Sequence[ElementStore], kind: str) -> list[list[ElementCodes]]:
        """Encode all rows of the stores, one a reader, in every orientation."""
        return [
            [
                encode_elements(reader.backbone, store, kind, np.arange(len(store)), np.full(len(store), mirrored))
                for mirrored in self.pair.orientations
            ]
            for reader, store in zip(self.readers, variants, strict=True)
        ]

    def potential(self) -> np.ndarray:
        """Potential of the pair as it is, shape (readers,)."""
        return self._score(self._codes["enhancer"], self._codes["promoter"])[:, 0, 0]

    @torch.no_grad()
    def distance_term(self) -> np.ndarray:
        """What the distance adds to the potential, shape (readers,).

        It is 0 where the distance is unknown, NaN where the model has no contact decay.
        """
        terms = []
        for reader, codes in zip(self.readers, self._codes["enhancer"], strict=True):
            decay, device = reader.backbone.decay, codes[0].mask.device
            distance = torch.tensor([self.pair.distance], dtype=torch.float64, device=device)
            terms.append(math.nan if decay is None else reader.unit * float(decay(distance)))
        return np.array(terms)

    def changed(self, kind: str, variants: Sequence[ElementStore]) -> np.ndarray:
        """Potential with each row of `variants`, a store a reader, in place of one element, shape (readers, n)."""
        codes = self._codes | {kind: self._encode(variants, kind)}
        return self._score(codes["enhancer"], codes["promoter"]).reshape(len(self.readers), -1)

    def changed_both(self, enhancers: Sequence[ElementStore], promoters: Sequence[ElementStore]) -> np.ndarray:
        """Potential of every row of `enhancers` with every row of `promoters`, shape (readers, n, m)."""
        return self._score(self._encode(enhancers, "enhancer"), self._encode(promoters, "promoter"))

    @torch.no_grad()
    def _score(self, enhancers: list[list[ElementCodes]], promoters: list[list[ElementCodes]]) -> np.ndarray:
        found = []
        for reader, mine, others in zip(self.readers, enhancers, promoters, strict=True):
            n, m = len(mine[0].mask), len(others[0].mask)
            left = torch.arange(n).repeat_interleave(m)
            right = torch.arange(m).repeat(n)
            potentials = []
            for enhancer, promoter in zip(mine, others, strict=True):
                device = enhancer.mask.device
                distance = torch.full((n * m,), self.pair.distance, dtype=torch.float64, device=device)
                output = reader.backbone(enhancer.take(left.to(device)), promoter.take(right.to(device)), distance)
                potentials.append(output.potential.double().cpu().numpy())
            found.append(reader.unit * mean_orientation(potentials).reshape(n, m))
        return np.stack(found)
