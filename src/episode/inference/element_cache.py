"""From stored elements to what the pair head reads of them: encoded on demand, or once for a Backbone that is frozen.

This module does NOT know which elements make a pair.
"""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.inference.orientation import gather_oriented
from episode.model.backbone import Backbone, ElementCodes
from episode.threads import in_threads, torch_threads

__all__ = ["ElementCache", "element_codes", "encode_elements"]

BLOCK = 64
"""Elements encoded together; codes depend on it in the last bit, so it is fixed."""
AHEAD = 4
"""Blocks that each thread encodes before they are stored."""
BUDGET = 512 << 20
"""Bytes of codes that a cache with a folder holds in memory."""
FIELDS = ("tokens", "query", "key", "value", "presence", "factors", "gate")
"""Of `ElementCodes`, in the order in which they are packed."""
BINNED = {"tokens", "query", "key", "value"}
"""Fields whose last dimension but one is that of the bins."""
Shapes = tuple[tuple[int, ...], ...]
Place = np.ndarray | tuple[IO[bytes], int]
"""Packed rows in memory, or a file and the byte at which they begin."""


def encode_elements(
    backbone: Backbone, store: ElementStore, kind: str, element: np.ndarray, mirrored: np.ndarray, *, both: bool = False
) -> ElementCodes:
    """Encode elements of one kind ("enhancer" or "promoter") in pair orientation, row by row.

    With `both` the rows of their reverse complements follow: half of the work is done once.
    """
    device = next(backbone.parameters()).device
    gate = None
    if store.gate is not None:
        rows = (np.tile(element, 2), np.concatenate([mirrored, ~mirrored])) if both else (element, mirrored)
        gate = gather_oriented(store.gate, *rows, device)
    return backbone.encode(kind, *gather_oriented(store, element, mirrored, device), gate, both=both)


class ElementCache:
    """Codes of the elements of a store: each (kind, element) is encoded once in both orientations, on first use.

    Elements are encoded in blocks that the ids alone decide, so the codes of an element are the same to the last bit
    whatever was requested before or is requested with it. The Backbone must not change while the cache is in use.

    Up to `BUDGET` bytes of codes are held in memory, the rest in an unnamed temporary file, which is gone when the
    process ends, however it ends. The file is read, not mapped, so that memory does not grow with it.

    Parameters
    ----------
    folder : Path, optional
        Where the file may be written; made if absent (its parent must exist). Without it all codes stay in memory.
    share : int
        Caches that share `BUDGET`.
    """

    def __init__(self, backbone: Backbone, store: ElementStore, folder: Path | None = None, *, share: int = 1) -> None:
        self.backbone, self.store, self.folder = backbone, store, folder
        self._budget = BUDGET // share
        self._blocks: dict[tuple[str, int], _Block] = {}
        self._held = 0
        self._file: IO[bytes] | None = None

    def codes(self, kind: str, element: np.ndarray, mirrored: np.ndarray) -> ElementCodes:
        """Return the codes of elements of one kind ("enhancer" or "promoter") in pair orientation, row by row.

        Padded to the longest of them; the padding holds finite numbers.

        Raises
        ------
        EpisodeError
            If the folder has no room for the codes.
        """
        number, row = np.divmod(np.asarray(element, dtype=np.int64), BLOCK)
        row = row + mirrored * np.minimum(BLOCK, len(self.store) - number * BLOCK)
        order = np.lexsort((row, number))
        self._encode(kind, np.unique(number))
        groups: dict[Shapes, tuple[list[np.ndarray], list[np.ndarray]]] = {}
        for part in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            held = self._blocks[kind, int(number[part[0]])]
            rows, places = groups.setdefault(held.shapes, ([], []))
            rows.append(held.take(row[part]))
            places.append(part)
        bins = torch.from_numpy(self.store.bins[element])
        mask = torch.arange(int(bins.max())) < bins[:, None]
        fields: dict[str, Tensor] = {}
        with torch_threads(1):  # copies are too short to be divided
            for shapes, (rows, places) in groups.items():
                place = torch.from_numpy(np.concatenate(places))
                for name, found in _unpacked(np.concatenate(rows), shapes, mask.shape[1]).items():
                    size = (*found.shape[1:-2], mask.shape[1], found.shape[-1]) if name in BINNED else found.shape[1:]
                    field = fields.setdefault(name, found.new_zeros(len(mask), *size))
                    (field[..., : found.shape[-2], :] if name in BINNED else field).index_copy_(0, place, found)
        return ElementCodes(mask=mask, **fields).to(next(self.backbone.parameters()).device)

    def _encode(self, kind: str, numbers: np.ndarray) -> None:
        """Encode the blocks that are missing."""
        missing = [number for number in numbers.tolist() if (kind, number) not in self._blocks]
        ahead = AHEAD * torch.get_num_threads()  # held until they are stored
        for start in range(0, len(missing), ahead):
            part = missing[start : start + ahead]
            for number, (shapes, packed) in zip(part, in_threads(partial(self._packed, kind), part), strict=True):
                self._blocks[kind, number] = _Block(shapes, self._kept(packed))

    def _packed(self, kind: str, number: int) -> tuple[Shapes, np.ndarray]:
        """Encode a block: one row per element as stored, then one per element as its reverse complement."""
        element = np.arange(number * BLOCK, min((number + 1) * BLOCK, len(self.store)))
        mirrored = np.zeros(len(element), dtype=bool)
        codes = encode_elements(self.backbone, self.store, kind, element, mirrored, both=True)
        fields = [getattr(codes, name) for name in FIELDS]
        packed = torch.cat([field.flatten(1) for field in fields], dim=1).float().cpu().numpy()
        return tuple(tuple(field.shape[1:]) for field in fields), packed

    def _kept(self, rows: np.ndarray) -> Place:
        if self.folder is None or self._held + rows.nbytes <= self._budget:
            self._held += rows.nbytes
            return rows
        try:
            if self._file is None:
                self.folder.mkdir(exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            start = self._file.seek(0, os.SEEK_END)
            _write(self._file, rows)
        except OSError as error:
            raise EpisodeError(
                f"{self.folder}: no room for the codes of the elements: {error.strerror}; "
                f"{rows.nbytes:,} bytes more were needed for {len(rows) // 2} of {len(self.store):,} elements"
            ) from None
        return self._file, start


@dataclass(frozen=True)
class _Block:
    """Packed codes of a block, one row per element and orientation, in memory or from a byte offset of a file."""

    shapes: Shapes
    place: Place

    def take(self, row: np.ndarray) -> np.ndarray:
        """Return some rows, ascending, shape (len(row), size), float32."""
        if isinstance(self.place, np.ndarray):
            return self.place[row]
        file, start = self.place
        size = sum(map(math.prod, self.shapes))
        rows = np.empty((len(row), size), dtype=np.float32)
        for run in np.split(np.arange(len(row)), np.flatnonzero(np.diff(row) != 1) + 1):
            part = rows[run[0] : run[-1] + 1]
            at = start + int(row[run[0]]) * size * 4
            if os.preadv(file.fileno(), [part], at) != part.nbytes:
                raise OSError(f"a file of codes ends at byte {os.fstat(file.fileno()).st_size}")
        return rows


def element_codes(
    backbone: Backbone, source: ElementStore | ElementCache, kind: str, element: np.ndarray, mirrored: np.ndarray
) -> ElementCodes:
    """Take codes from a cache, or encode the elements."""
    if isinstance(source, ElementCache):
        return source.codes(kind, element, mirrored)
    return encode_elements(backbone, source, kind, element, mirrored)


def _unpacked(rows: np.ndarray, shapes: Shapes, bins: int) -> dict[str, Tensor]:
    """Turn packed rows into fields of at most `bins` bins: what is cut is padding."""
    parts = torch.from_numpy(rows).split([math.prod(shape) for shape in shapes], dim=1)
    fields = {name: part.unflatten(1, shape) for name, part, shape in zip(FIELDS, parts, shapes, strict=True)}
    return {name: field[..., :bins, :] if name in BINNED else field for name, field in fields.items()}


def _write(file: IO[bytes], rows: np.ndarray) -> None:
    rest = memoryview(rows).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]
