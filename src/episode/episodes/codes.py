"""From stored elements to what the pair head reads of them: encoded anew, or once for a Backbone that stays as it is.

Knows nothing about which elements make a pair.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from episode.encode.store import ElementStore, mirror
from episode.model.backbone import Backbone, ElementCodes

__all__ = ["CodeTable", "element_codes", "encode_elements", "laid_out"]

BLOCK = 64
"""Elements encoded together; numbers depend on it in the last bit, so it is fixed."""


def encode_elements(
    backbone: Backbone, store: ElementStore, kind: str, element: np.ndarray, mirrored: np.ndarray
) -> ElementCodes:
    """Encode elements of one kind ("enhancer" or "promoter") as they are laid out, row by row."""
    scores, mask = laid_out(backbone, store, element, mirrored)
    gate = None if store.gate is None else laid_out(backbone, store.gate, element, mirrored)
    encode = backbone.encode_enhancers if kind == "enhancer" else backbone.encode_promoters
    return encode(scores, mask, gate)


def laid_out(
    backbone: Backbone, store: ElementStore, element: np.ndarray, mirrored: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Gather rows of elements as they are laid out, and their mask, where the Backbone is."""
    scores, mask = store.gather(element)
    scores = mirror(scores, mask, torch.from_numpy(np.ascontiguousarray(mirrored)))
    device = next(backbone.parameters()).device
    return scores.to(device), mask.to(device)


class CodeTable:
    """Codes of the elements of a store, each (kind, element, layout) encoded once, when it is first asked for.

    Elements are encoded in blocks that the ids alone decide, so that the codes of an element are the same to the last
    bit whatever was asked for before or is asked for with it. The Backbone must not change while the table is in use.

    Parameters
    ----------
    backbone : Backbone
    store : ElementStore
    folder : Path, optional
        Where codes may lie that are too many for memory.
    """

    def __init__(self, backbone: Backbone, store: ElementStore, folder: Path | None = None) -> None:
        self.backbone, self.store, self.folder = backbone, store, folder
        self._blocks: dict[tuple[str, bool, int], ElementCodes] = {}

    def codes(self, kind: str, element: np.ndarray, mirrored: np.ndarray) -> ElementCodes:
        """Return the codes of some elements of one kind ("enhancer" or "promoter") as laid out, row by row.

        Padded to the longest of them; the padding holds finite numbers.
        """
        place = np.asarray(element, dtype=np.int64) * 2 + mirrored
        block = place // (2 * BLOCK) * 2 + place % 2
        longest = int(self.store.bins[element].max(initial=0))
        parts, order = [], []
        for number in np.unique(block):
            wanted = np.flatnonzero(block == number)
            rows = torch.from_numpy(place[wanted] // 2 % BLOCK)
            codes = self._block(kind, bool(number % 2), int(number // 2))
            parts.append(_padded(codes.take(rows.to(codes.mask.device)), longest))
            order.append(wanted)
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        return ElementCodes.concatenate(parts).take(back.to(parts[0].mask.device))

    @torch.no_grad()
    def _block(self, kind: str, mirrored: bool, number: int) -> ElementCodes:
        key = (kind, mirrored, number)
        if key not in self._blocks:
            element = np.arange(number * BLOCK, min((number + 1) * BLOCK, len(self.store)))
            layout = np.full(len(element), mirrored)
            self._blocks[key] = encode_elements(self.backbone, self.store, kind, element, layout)
        return self._blocks[key]


def element_codes(
    backbone: Backbone, source: ElementStore | CodeTable, kind: str, element: np.ndarray, mirrored: np.ndarray
) -> ElementCodes:
    """Take codes from a table, or encode the elements."""
    if isinstance(source, CodeTable):
        return source.codes(kind, element, mirrored)
    return encode_elements(backbone, source, kind, element, mirrored)


def _padded(codes: ElementCodes, bins: int) -> ElementCodes:
    """Cut or pad codes to a number of bins; what is cut is padding."""

    def fit(x: Tensor, dim: int) -> Tensor:
        if x.shape[dim] >= bins:
            return x.narrow(dim, 0, bins)
        shape = list(x.shape)
        shape[dim] = bins - x.shape[dim]
        return torch.cat([x, x.new_zeros(shape)], dim=dim)

    return ElementCodes(
        tokens=fit(codes.tokens, 1),
        mask=fit(codes.mask, 1),
        query=fit(codes.query, 2),
        key=fit(codes.key, 2),
        value=fit(codes.value, 2),
        presence=codes.presence,
        factors=codes.factors,
        gate=codes.gate,
    )
