"""Tokens of all elements of a dataset, made once and read many times.

Here belong what of a dataset has to be encoded and what a cache holds already, and the gathering of padded batches.
This module does NOT know how an element is scored or divided in bins, how a cache lies on disk, nor which elements
make a pair.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from episode.config import StemConfig
from episode.dna import UNKNOWN, digest
from episode.encode.bases import BASES_VERSION, BaseLayout
from episode.encode.bins import bin_count
from episode.encode.motifs import MotifBank
from episode.encode.scanner import CODE_VERSION, FLOOR, Scanner
from episode.encode.segments import DIGEST, Recipe, Rows, SegmentFolder
from episode.errors import EpisodeError
from episode.limits import POSITION
from episode.slices import ByteArray
from episode.threads import torch_threads

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["ElementStore", "Sequences", "build_store", "row_shape", "verify_stores"]

BATCH = 1 << 20
"""Base pairs scanned at a time."""
SEGMENT, SEGMENTS = 64 << 20, 64
"""Minimum bytes of a segment, unless less is missing; and maximum number of segments of what is missing."""


Encoder = Callable[[Sequence[np.ndarray], np.ndarray | None], np.ndarray]
"""Sequences, and where they lie if that is known (see `episode.encode.scanner.Scanner`), to rows."""


class Sequences(Protocol):
    """What is needed of a dataset."""

    @property
    def elements(self) -> pd.DataFrame:
        """One row an element: ``length`` and ``offset`` into `codes`, both in bases.

        If they are known also ``digest``, and ``chrom`` and ``start``, which save work: what is scanned of an element
        is its sequence, whatever these columns hold.
        """

    @property
    def codes(self) -> np.ndarray | ByteArray:
        """All sequences, uint8: A=0, C=1, G=2, T=3, anything else 4."""


@dataclass(frozen=True, eq=False)
class ElementStore:
    """Tokens of every element.

    Parameters
    ----------
    tokens : Rows, shape (total_bins, 2, n_motifs), float16 or float32, or (total_bins, bin), uint8
        Scores in bits (see `episode.encode.scanner.scan`), or the bases (see `episode.encode.bases`), in memory or in
        files; elements with one sequence share their rows.
    start : np.ndarray, shape (n_elements,), int64
        First row of each element in `tokens`.
    bins : np.ndarray, shape (n_elements,), int64
        Number of bins of each element.
    hash : str
        SHA-256 of all that the tokens depend on: sequences, bin width, code version, precision and, for scores, the
        bank; the same wherever they lie.
    gate : ElementStore or None
        The same elements by the matrices of the boundary gate, in bins of their own.
    """

    tokens: Rows
    start: np.ndarray
    bins: np.ndarray
    hash: str
    gate: ElementStore | None = None

    @classmethod
    def of(cls, tokens: np.ndarray, bins: np.ndarray, hash: str, gate: ElementStore | None = None) -> ElementStore:
        """Make a store of elements that lie one after another in one array."""
        return cls(Rows([tokens]), np.cumsum(bins) - bins, bins, hash, gate)

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def n_motifs(self) -> int:
        """Number of motifs of a token; the store must be one of scores."""
        return self.row_shape[1]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one bin."""
        return self.tokens.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the tokens are stored as."""
        return self.tokens.dtype

    def rows(self, element: int) -> np.ndarray:
        """Return a copy of the tokens of one element as they are stored, shape (bins, ...)."""
        rows = np.empty((self.bins[element], *self.row_shape), dtype=self.dtype)
        self.tokens.copy(self.start[[element]], self.bins[[element]], np.zeros(1, dtype=np.int64), rows)
        return rows

    def gather(self, ids: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the tokens of some elements, padded to the longest of them.

        Parameters
        ----------
        ids : np.ndarray, shape (n,), int
            Element ids, in any order, repeats allowed. Files are read in ascending order.

        Returns
        -------
        tokens : Tensor, shape (n, max_bins, 2, n_motifs), float32, or (n, max_bins, bin), uint8
            Scores in bits, or bases; `FLOOR` or `UNKNOWN` in the padding, which follows the bins of an element.
        mask : Tensor, shape (n, max_bins), bool
            True at the bins of the element.

        Raises
        ------
        IndexError
            If an id is not that of an element.
        """
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and not (ids.min() >= 0 and ids.max() < len(self)):
            raise IndexError(f"element ids {ids.min()}..{ids.max()}: the store holds 0..{len(self) - 1}")
        bins = self.bins[ids]
        longest = int(bins.max(initial=0))
        rows = np.empty((len(ids) * longest, *self.row_shape), dtype=self.dtype)
        self.tokens.copy(self.start[ids], bins, np.arange(len(ids)) * longest, rows)
        inside = np.arange(longest) < bins[:, None]
        rows[np.flatnonzero(~inside)] = UNKNOWN if self.dtype == np.uint8 else FLOOR
        tokens = torch.from_numpy(rows.reshape(len(ids), longest, *self.row_shape))
        return tokens if self.dtype == np.uint8 else tokens.float(), torch.from_numpy(inside)


def build_store(
    dataset: Sequences,
    bank: MotifBank,
    config: StemConfig,
    cache: Path | None = None,
    *,
    progress: bool = False,
    workers: int = 0,
) -> ElementStore:
    """Encode every element of a dataset once as the stem needs it, or open the result of having done so.

    The motif stem reads scores of the bank, the others read bases. In a cache, sequences that were encoded before, for
    whatever dataset, are not encoded again; the rest is added to it in segments, each of which lasts once it is
    written, whatever happens to this process. See ``docs/store.md``.

    Parameters
    ----------
    dataset : Sequences
        A `episode.data.dataset.Dataset` or anything with its `elements` and `codes`, which may lie in a file.
    bank : MotifBank
    config : StemConfig
        Kind of the stem, widths of the bins and precision; the bank is taken as given.
    cache : Path, optional
        Folder that holds encoded sequences; made if it is not there. Without it the tokens stay in memory.
    progress : bool, optional
        Show a progress bar on standard error.
    workers : int, optional
        Threads that scan; 0 for as many as torch uses.

    Raises
    ------
    EpisodeError
        If what is missing cannot be written to the cache; the message gives its size.
    """
    with torch_threads(workers):
        work = _Work(dataset, cache, progress)
        own, gate = _encodings(config, bank)
        store = work.build(own)
        return store if gate is None else replace(store, gate=work.build(gate))


def verify_stores(bank: MotifBank, config: StemConfig, cache: Path) -> tuple[int, list[str]]:
    """Compute the checksums of all that a cache holds for a stem, and remove what is damaged.

    Returns what `episode.encode.segments.SegmentFolder.verify` does.

    Raises
    ------
    EpisodeError
        If something is damaged in a folder that may only be read.
    """
    sound, damaged = 0, list[str]()
    for encoding in filter(None, _encodings(config, bank)):
        folder = encoding.folder(cache)
        if folder.folder.exists():
            writable = os.access(folder.folder, os.W_OK)
            with folder.writing(_report_waiting) if writable else contextlib.nullcontext():
                valid, wrong = folder.verify(remove=writable)
            if wrong and not writable:
                raise EpisodeError(f"{wrong[0]}; needs the right to write in {folder.folder} to correct it")
            sound, damaged = sound + valid, damaged + wrong
    return sound, damaged


def row_shape(config: StemConfig, bank: MotifBank) -> tuple[int, ...]:
    """Shape of one bin of the store that `build_store` makes."""
    return _encodings(config, bank)[0].recipe.row


@dataclass(frozen=True)
class _Encoding:
    """How elements become tokens: all that they depend on besides the sequences, and the work."""

    recipe: Recipe
    encoder: Callable[[], Encoder]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.recipe.dtype)

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.recipe.row)

    def hash(self, digests: np.ndarray | None = None) -> str:
        """SHA-256 of the recipe and, if given, of elements in their order."""
        content = json.dumps(self.recipe.model_dump(mode="json"), sort_keys=True).encode()
        return hashlib.sha256(content + (b"" if digests is None else digests.tobytes())).hexdigest()

    def folder(self, cache: Path) -> SegmentFolder:
        """Where its rows are kept."""
        kind = "bases" if self.recipe.bank == "bases" else "scores"
        name = f"{kind}-bin{self.recipe.bin}-{self.recipe.dtype}-{self.hash()[:16]}"
        return SegmentFolder(cache / name, self.recipe)


def _encodings(config: StemConfig, bank: MotifBank) -> tuple[_Encoding, _Encoding | None]:
    """What the stem reads, and what the boundary gate reads, if the bank has one."""
    own = _scores(bank, config.bin, config.precision) if config.kind == "motif" else _bases(config.bin)
    return own, None if bank.gate is None else _scores(bank.gate, config.gate_bin, config.precision)


def _scores(bank: MotifBank, bin: int, precision: str) -> _Encoding:
    recipe = Recipe(code_version=CODE_VERSION, bank=bank.hash, bin=bin, row=(2, len(bank)), dtype=precision)
    return _Encoding(recipe, lambda: Scanner(bank, bin, dtype=precision))


def _bases(bin: int) -> _Encoding:
    encode = BaseLayout(bin)
    recipe = Recipe(code_version=BASES_VERSION, bank="bases", bin=bin, row=(bin,), dtype="uint8")
    return _Encoding(recipe, lambda: lambda elements, _: encode(elements))


class _Work:
    """One dataset to be encoded, by one encoding or several."""

    def __init__(self, dataset: Sequences, cache: Path | None, progress: bool) -> None:
        self._codes, self._cache, self._progress = dataset.codes, cache, progress
        self._offset = dataset.elements["offset"].to_numpy(np.int64)
        self._length = dataset.elements["length"].to_numpy(np.int64)
        self._place = _places(dataset.elements)
        known = dataset.elements.get("digest")
        texts = map(digest, self._sequences(np.arange(len(self._length)))) if known is None else known
        self._digests = np.frombuffer(b"".join(map(bytes.fromhex, texts)), dtype=DIGEST)
        _, first, inverse = np.unique(self._digests, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        self._distinct, self._which = np.sort(first), rank[inverse.reshape(-1)]

    def build(self, encoding: _Encoding) -> ElementStore:
        bins = bin_count(self._length, encoding.recipe.bin)
        wanted = bins[self._distinct]
        if self._cache is None:
            rows, start = self._in_memory(encoding, wanted)
        else:
            rows, start = self._in_cache(encoding, wanted, encoding.folder(self._cache))
        return ElementStore(rows, start[self._which], bins, encoding.hash(self._digests))

    def _in_memory(self, encoding: _Encoding, bins: np.ndarray) -> tuple[Rows, np.ndarray]:
        tokens = np.empty((int(bins.sum()), *encoding.recipe.row), dtype=encoding.dtype)
        encoder, row = encoding.encoder(), 0
        with self._bar(self._distinct) as bar:
            for encoded in self._encode(encoder, self._distinct, bar):
                tokens[row : row + len(encoded)] = encoded
                row += len(encoded)
        return Rows([tokens]), np.cumsum(bins) - bins

    def _in_cache(self, encoding: _Encoding, bins: np.ndarray, folder: SegmentFolder) -> tuple[Rows, np.ndarray]:
        digests = self._digests[self._distinct]
        found = folder.find(digests)
        if (found.start < 0).any():
            try:
                self._add(encoding, bins, folder)
            except OSError as error:
                here = folder.find(digests).start >= 0
                need = int(bins[~here].sum()) * encoding.row_bytes
                raise EpisodeError(
                    f"{folder.folder}: {error.strerror or error}; {int(here.sum())} of {len(here)} elements are there, "
                    f"the other {int((~here).sum())} need {need:,} bytes"
                ) from None
            found = folder.find(digests)
            if (found.start < 0).any():
                raise EpisodeError(f"{folder.folder}: elements vanished as soon as they were written")
        return found.rows, found.start

    def _add(self, encoding: _Encoding, bins: np.ndarray, folder: SegmentFolder) -> None:
        """Encode what a folder lacks, segment after segment."""
        digests = self._digests[self._distinct]
        with folder.writing(_report_waiting):
            missing = np.flatnonzero(folder.find(digests, remove_damaged=True).start < 0)
            size = np.cumsum(bins[missing]) * encoding.row_bytes
            number = size // max(SEGMENT, int(size.max(initial=0)) // SEGMENTS)
            encoder = encoding.encoder()
            with self._bar(self._distinct[missing]) as bar:
                for part in np.split(missing, np.flatnonzero(np.diff(number)) + 1):
                    folder.add(digests[part], bins[part], self._encode(encoder, self._distinct[part], bar))

    def _bar(self, elements: np.ndarray) -> tqdm[NoReturn]:
        from tqdm import tqdm  # only where work is shown

        total = int(self._length[elements].sum())
        return tqdm(total=total, desc="scan", unit="bp", unit_scale=True, disable=not self._progress)

    def _encode(self, encoder: Encoder, elements: np.ndarray, bar: tqdm[NoReturn]) -> Iterator[np.ndarray]:
        """Encode elements in batches of about `BATCH` base pairs, at least one element each."""
        number = (np.cumsum(self._length[elements]) - self._length[elements]) // BATCH
        for batch in np.split(elements, np.flatnonzero(np.diff(number)) + 1):
            if len(batch):
                yield encoder(list(self._sequences(batch)), None if self._place is None else self._place[batch])
                bar.update(int(self._length[batch].sum()))

    def _sequences(self, elements: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the codes of some elements."""
        for offset, length in zip(self._offset[elements].tolist(), self._length[elements].tolist(), strict=True):
            yield self._codes[offset : offset + length]


def _places(elements: pd.DataFrame) -> np.ndarray | None:
    """Where elements begin on one line for all chromosomes, shape (n,), int64, if that is known."""
    if not {"chrom", "start"} <= set(elements):
        return None
    number = np.unique(elements["chrom"].to_numpy(str), return_inverse=True)[1].astype(np.int64)
    return number * POSITION + elements["start"].to_numpy(np.int64)


def _report_waiting() -> None:
    print("another process is encoding into the same cache; waiting for it", file=sys.stderr)
