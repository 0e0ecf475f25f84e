"""Tokens of all elements of a dataset, made once and read many times.

Here belong the folder of the cache, its validity, and the gathering of padded batches.
This module does NOT know how an element is scored or laid out, nor which elements make a pair.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from episode.config import StemConfig
from episode.encode.bases import BASES_VERSION, UNKNOWN, BaseLayout, mirror_bases
from episode.encode.motifs import MotifBank
from episode.encode.stem import CODE_VERSION, FLOOR, Scanner, bin_count
from episode.errors import EpisodeError
from episode.files import atomic_folder, file_sha256, read_json, write_json

__all__ = ["FORMAT_VERSION", "ElementStore", "Sequences", "build_store", "mirror", "row_shape"]

FORMAT_VERSION = 1
"""Of the cache folder: ``tokens.npy`` and ``manifest.json``."""
BATCH = 1 << 20
"""Base pairs scanned at a time."""


class Sequences(Protocol):
    """What is needed of a dataset."""

    @property
    def elements(self) -> pd.DataFrame:
        """One row an element, with the columns ``length`` and ``offset`` into `codes`, both in bases."""

    @property
    def codes(self) -> np.ndarray:
        """All sequences, uint8: A=0, C=1, G=2, T=3, anything else 4."""


@dataclass(frozen=True, eq=False)
class ElementStore:
    """Tokens of every element.

    Parameters
    ----------
    tokens : np.ndarray, shape (total_bins, 2, n_motifs), float16, or (total_bins, bin), uint8
        Scores in bits (see `episode.encode.stem.scan`), or the bases (see `episode.encode.bases`), element after
        element; may be mapped from a file.
    bins : np.ndarray, shape (n_elements,), int64
        Number of bins of each element.
    hash : str
        SHA-256 of all that the tokens depend on: sequences, bin width, code version and, for scores, the bank.
    gate : ElementStore or None
        The same elements by the matrices of the boundary gate, in bins of their own.
    """

    tokens: np.ndarray
    bins: np.ndarray
    hash: str
    gate: ElementStore | None = None

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def n_motifs(self) -> int:
        """Number of motifs of a token; the store must be one of scores."""
        return int(self.tokens.shape[2])

    @property
    def offset(self) -> np.ndarray:
        """First row of each element in `tokens`, shape (n_elements,), int64."""
        return np.cumsum(self.bins) - self.bins

    def gather(self, ids: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the tokens of some elements, padded to the longest of them.

        Parameters
        ----------
        ids : np.ndarray, shape (n,), int
            Element ids, in any order, repeats allowed. The file is read in ascending order.

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
        order = np.argsort(ids, kind="stable")
        count = bins[order]
        number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        source = np.repeat(self.offset[ids[order]], count) + number
        target = torch.from_numpy(np.repeat(order * longest, count) + number)
        rows = torch.from_numpy(np.asarray(self.tokens)[source])
        if rows.dtype == torch.uint8:
            tokens = torch.full((len(ids) * longest, *rows.shape[1:]), UNKNOWN, dtype=torch.uint8)
        else:
            tokens, rows = torch.full((len(ids) * longest, *rows.shape[1:]), FLOOR), rows.float()
        tokens[target] = rows
        mask = torch.arange(longest) < torch.from_numpy(bins)[:, None]
        return tokens.view(len(ids), longest, *rows.shape[1:]), mask


def mirror(tokens: Tensor, mask: Tensor, reverse: Tensor) -> Tensor:
    """Turn tokens of elements into those of their reverse complements.

    Parameters
    ----------
    tokens : Tensor, shape (n, max_bins, 2, n_motifs), or (n, max_bins, bin), uint8
        As from `ElementStore.gather`; any channels may stand in place of motifs.
    mask : Tensor, shape (n, max_bins), bool
        True at the bins of each element, which come before the padding.
    reverse : Tensor, shape (n,), bool
        Which elements to turn; the others are returned as they are.

    Returns
    -------
    Tensor, of the same shape
        A copy; padding stays where it is.
    """
    if tokens.dtype == torch.uint8:
        return mirror_bases(tokens, mask, reverse)
    place = torch.arange(mask.shape[1], device=tokens.device).expand(mask.shape)
    turned = torch.where(mask & reverse[:, None], mask.sum(dim=1, keepdim=True) - 1 - place, place)
    strand = torch.arange(2, device=tokens.device) ^ reverse[:, None].long()
    row = torch.arange(len(tokens), device=tokens.device)
    return tokens[row[:, None, None], turned[:, :, None], strand[:, None, :]]


def build_store(
    dataset: Sequences,
    bank: MotifBank,
    config: StemConfig,
    cache: Path | None = None,
    progress: bool = False,
) -> ElementStore:
    """Encode every element of a dataset once as the stem wants it, or open the result of having done so.

    The motif stem reads scores of the bank, the others read bases. A folder of the cache is named by what its tokens
    depend on, so a stale one is never met. It appears by renaming when it is complete; of two processes that build the
    same one the later takes the earlier's. A folder that does not match its checksum is removed and built again.

    Parameters
    ----------
    dataset : Sequences
        A `episode.data.dataset.Dataset` or anything with its `elements` and `codes`.
    bank : MotifBank
    config : StemConfig
        Kind of the stem and widths of the bins; the bank is taken as given.
    cache : Path, optional
        Folder that holds the stores; made if it is not there. Without it the tokens stay in memory.
    progress : bool, optional
        Show a progress bar on standard error.

    Returns
    -------
    ElementStore
    """
    store = _build(dataset, _recipe(config, bank), cache, progress)
    if bank.gate is None:
        return store
    return replace(store, gate=_build(dataset, _scores(bank.gate, config.gate_bin), cache, progress))


def row_shape(config: StemConfig, bank: MotifBank) -> tuple[int, ...]:
    """Shape of one bin of the store that `build_store` makes."""
    return _recipe(config, bank).row


@dataclass(frozen=True)
class _Recipe:
    """How elements become tokens: all that they depend on besides the sequences, the shape of a row, and the work."""

    facts: dict[str, object]
    bin: int
    row: tuple[int, ...]
    dtype: type[np.generic]
    encoder: Callable[[], Callable[[Sequence[np.ndarray]], np.ndarray]]


def _recipe(config: StemConfig, bank: MotifBank) -> _Recipe:
    return _scores(bank, config.bin) if config.kind == "motif" else _bases(config.bin)


def _scores(bank: MotifBank, bin: int) -> _Recipe:
    facts = {"code_version": CODE_VERSION, "bank": bank.hash, "bin": bin}
    return _Recipe(facts, bin, (2, len(bank)), np.float16, lambda: Scanner(bank, bin))


def _bases(bin: int) -> _Recipe:
    facts = {"code_version": BASES_VERSION, "bank": "bases", "bin": bin}
    return _Recipe(facts, bin, (bin,), np.uint8, lambda: BaseLayout(bin))


def _build(dataset: Sequences, recipe: _Recipe, cache: Path | None, progress: bool) -> ElementStore:
    lengths = dataset.elements["length"].to_numpy(np.int64)
    bins = bin_count(lengths, recipe.bin)
    shape = (int(bins.sum()), *recipe.row)
    key = _hash(dataset, recipe)
    if cache is None or shape[0] == 0:
        tokens = np.empty(shape, dtype=recipe.dtype)
        _fill(tokens, dataset, recipe, progress)
        return ElementStore(tokens, bins, key)
    folder = cache / key
    stored = _open(folder, shape, recipe)
    if stored is None:
        _discard(folder)
        try:
            with atomic_folder(folder) as temporary:
                _write(temporary, shape, dataset, recipe, progress)
        except (OSError, EpisodeError):
            stored = _open(folder, shape, recipe)
            if stored is None:  # not because another process was first
                raise
        else:
            stored = np.load(folder / "tokens.npy", mmap_mode="r")
    return ElementStore(stored, bins, key)


def _sequences(dataset: Sequences) -> Iterator[np.ndarray]:
    """Yield the codes of each element."""
    codes = np.asarray(dataset.codes)
    offsets = dataset.elements["offset"].to_numpy(np.int64)
    lengths = dataset.elements["length"].to_numpy(np.int64)
    for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
        yield codes[offset : offset + length]


def _hash(dataset: Sequences, recipe: _Recipe) -> str:
    """Hash everything that the tokens depend on."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {' '.join(map(str, recipe.facts.values()))}\n".encode())
    digest.update(dataset.elements["length"].to_numpy(np.int64).astype("<i8").tobytes())
    for codes in _sequences(dataset):
        digest.update(np.ascontiguousarray(codes))
    return digest.hexdigest()


def _fill(tokens: np.ndarray, dataset: Sequences, recipe: _Recipe, progress: bool) -> None:
    """Encode all elements into `tokens`, some at a time."""
    from tqdm import tqdm  # only where work is shown

    encoder = recipe.encoder()
    total = int(dataset.elements["length"].sum())
    row = 0
    with tqdm(total=total, desc="scan", unit="bp", unit_scale=True, disable=not progress) as bar:
        for batch in _batches(dataset):
            encoded = encoder(batch)
            tokens[row : row + len(encoded)] = encoded
            row += len(encoded)
            bar.update(sum(map(len, batch)))


def _batches(dataset: Sequences) -> Iterator[list[np.ndarray]]:
    """Gather elements into batches of about `BATCH` base pairs, at least one element each."""
    batch: list[np.ndarray] = []
    size = 0
    for codes in _sequences(dataset):
        batch.append(codes)
        size += len(codes)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(folder: Path, shape: tuple[int, ...], dataset: Sequences, recipe: _Recipe, progress: bool) -> None:
    """Write the two files of a store."""
    path = folder / "tokens.npy"
    tokens = np.lib.format.open_memmap(path, mode="w+", dtype=recipe.dtype, shape=shape)
    _fill(tokens, dataset, recipe, progress)
    tokens.flush()
    manifest = {"format_version": FORMAT_VERSION, **recipe.facts, "shape": list(shape), "sha256": file_sha256(path)}
    write_json(folder / "manifest.json", manifest)


def _open(folder: Path, shape: tuple[int, ...], recipe: _Recipe) -> np.ndarray | None:
    """Map the tokens of a stored folder; None if it is not there or damaged."""
    path = folder / "tokens.npy"
    try:
        manifest = read_json(folder / "manifest.json")
        if manifest["sha256"] != file_sha256(path):
            return None
        tokens = np.load(path, mmap_mode="r")
    except (OSError, EpisodeError, ValueError, KeyError, TypeError):
        return None
    return tokens if tokens.shape == shape and tokens.dtype == recipe.dtype else None


def _discard(folder: Path) -> None:
    """Remove a damaged folder, if there is one; moved away first, so that nobody opens half of it."""
    if not folder.exists():
        return
    away = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".damaged", dir=folder.parent))
    try:
        folder.rename(away / folder.name)
    except FileNotFoundError:
        pass  # another process removed it
    finally:
        shutil.rmtree(away, ignore_errors=True)
