"""From pairs of stored elements to (U_I, z_I), the same for training and prediction.

This module does NOT know losses, nor what the impedance of an environment is.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from episode.encode.store import ElementStore
from episode.inference.element_cache import ElementCache, element_codes
from episode.inference.orientation import gather_oriented, mean_unoriented
from episode.inference.pairs import PairRows
from episode.model.backbone import Backbone, PairOutput
from episode.threads import in_threads

__all__ = ["FrozenScorer", "LiveScorer", "Scorer", "gate_presence", "score_rows"]

PIECE = 512
"""Pairs that the head scores at a time; bounds the working memory."""
BLOCK = 4096
"""Pairs whose elements are gathered at a time."""


@torch.no_grad()
def gate_presence(backbone: Backbone, store: ElementStore, rows: PairRows) -> Tensor:
    """What the boundary gate reads of each distinct element of some pairs in pair orientation, shape (m, 2).

    Raises
    ------
    ValueError
        If there is no gate.
    """
    if backbone.gate is None or store.gate is None:
        raise ValueError("there is no boundary gate to read")
    parts, device = [], next(backbone.parameters()).device
    for element, upstream in ((rows.enhancer, True), (rows.promoter, False)):
        distinct = np.unique(element * 2 + rows.mirrored)
        sites = gather_oriented(store.gate, distinct // 2, distinct % 2 == 1, device)
        parts.append(backbone.gate(*sites, upstream=upstream))
    return torch.cat(parts)


def score_rows(
    backbone: Backbone,
    source: ElementStore | ElementCache,
    rows: PairRows,
    *,
    block: int = BLOCK,
    gradient: bool = False,
) -> PairOutput:
    """U_I and z_I of pairs; each distinct (element, orientation) of a block is encoded once, or taken from a cache.

    Parameters
    ----------
    source : ElementStore or ElementCache
        What the elements are encoded from, or their codes by this Backbone as it is.
    block : int
        Pairs scored at a time; the result does not depend on it beyond rounding.
    gradient : bool
        Keep the graph (training); otherwise no gradient is recorded. A cache has none to keep.
    """
    if isinstance(source, ElementCache) and (gradient or source.backbone is not backbone):
        raise ValueError("an element cache serves the Backbone that filled it, and has no gradient")
    if not len(rows):
        empty = next(backbone.parameters()).new_zeros(0, backbone.representation_size)
        return PairOutput(empty[:, 0], empty)
    outputs = []
    with contextlib.nullcontext() if gradient else torch.no_grad():
        for start in range(0, len(rows), block):
            part = rows.take(np.arange(start, min(start + block, len(rows))))
            output = _score_orientation(backbone, source, part, part.mirrored)
            if not part.oriented.all():
                other = _score_orientation(backbone, source, part, ~part.mirrored)
                output = PairOutput(
                    mean_unoriented(output.potential, other.potential, part.oriented),
                    mean_unoriented(output.representation, other.representation, part.oriented),
                )
            outputs.append(output)
    return PairOutput.concatenate(outputs)


class Scorer(Protocol):
    """Rows of a pair table to (U_I, z_I)."""

    @property
    def rows(self) -> PairRows:
        """The table that the indices refer to."""

    def __call__(self, index: np.ndarray, *, gradient: bool = False) -> PairOutput:
        """Score the rows `index`, shape (m,), in that order."""


class LiveScorer:
    """Scores with the Backbone as it is now."""

    def __init__(self, backbone: Backbone, store: ElementStore, rows: PairRows) -> None:
        self.backbone, self.store, self.rows = backbone, store, rows

    def __call__(self, index: np.ndarray, *, gradient: bool = False) -> PairOutput:
        """Score the rows `index`; in one block if a gradient is wanted.

        More than a block are scored in the order of their elements, so that each block encodes few elements.
        """
        if gradient or len(index) <= BLOCK:
            block = max(1, len(index))
            return score_rows(self.backbone, self.store, self.rows.take(index), block=block, gradient=gradient)
        rows = self.rows.take(index)
        order = rows.element_order()
        output = score_rows(self.backbone, self.store, rows.take(order), block=BLOCK)
        return output.take(np.argsort(order))


class FrozenScorer:
    """Returns the output of a frozen Backbone for each row, computed once.

    Parameters
    ----------
    index : ndarray, shape (m,)
        The rows that will be requested.
    """

    def __init__(self, live: Scorer, index: np.ndarray) -> None:
        self.rows, distinct = live.rows, np.unique(index)
        index = distinct[live.rows.take(distinct).element_order()]
        self.place = np.full(len(live.rows), -1, dtype=np.int64)
        self.place[index] = np.arange(len(index))
        # block by block into preallocated tables: joining blocks would need the memory twice
        first = live(index[:BLOCK])
        potential = first.potential.new_empty(len(index))
        representation = first.representation.new_empty(len(index), first.representation.shape[1])
        for start in range(0, len(index), BLOCK):
            output = live(index[start : start + BLOCK]) if start else first
            potential[start : start + BLOCK] = output.potential
            representation[start : start + BLOCK] = output.representation
        self.output = PairOutput(potential, representation)

    def __call__(self, index: np.ndarray, *, gradient: bool = False) -> PairOutput:
        """Look the rows `index` up; there is no graph to keep.

        Raises
        ------
        IndexError
            If one of them was not scored.
        """
        if (self.place[index] < 0).any():
            raise IndexError("a row was requested that was not scored when the Backbone was frozen")
        return self.output.take(self.place[index])


def _score_orientation(
    backbone: Backbone, source: ElementStore | ElementCache, rows: PairRows, mirrored: np.ndarray
) -> PairOutput:
    distance = None if backbone.decay is None else torch.from_numpy(rows.distance)
    codes, places = [], []
    for kind, element in (("enhancer", rows.enhancer), ("promoter", rows.promoter)):
        distinct, inverse = np.unique(element * 2 + mirrored, return_inverse=True)
        codes.append(element_codes(backbone, source, kind, distinct // 2, distinct % 2 == 1))
        places.append(torch.from_numpy(inverse.reshape(-1)))
    device = codes[0].mask.device

    def score(part: Tensor) -> PairOutput:
        enhancers, promoters = (c.take(place[part].to(device)) for c, place in zip(codes, places, strict=True))
        output: PairOutput = backbone(enhancers, promoters, None if distance is None else distance[part].to(device))
        return output

    parts = torch.arange(len(rows)).split(PIECE)
    shared = isinstance(source, ElementCache)  # training distributes its pairs in its own way, and has autocast
    return PairOutput.concatenate(in_threads(score, parts) if shared else [score(part) for part in parts])
