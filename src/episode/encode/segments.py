"""Rows of elements on disk: a folder for each recipe, in it segments that are written once and never changed.

The folder is described in ``docs/store.md``. Here belong its files, their checks, and reading rows of several segments
as if they were one array. This module does NOT know what an element is, nor how its rows are made: it keeps rows by
digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict

from episode.errors import EpisodeError
from episode.files import atomic_folder, file_sha256, locked, remove_folder, remove_leftovers
from episode.schema import Model, write_model
from episode.slices import RowFile

__all__ = ["DIGEST", "FORMAT_VERSION", "Found", "Recipe", "Rows", "SegmentFolder"]

FORMAT_VERSION = 2
"""Of the folder; 1 was one file for a whole dataset."""
DIGEST = np.dtype("S16")
"""What rows are found by: 16 bytes."""
INDEX = np.dtype([("digest", DIGEST), ("bins", "<i8")])
NAME_LENGTH = 32
NAME = re.compile(f"[0-9a-f]{{{NAME_LENGTH}}}")
"""Of a segment: the beginning of the SHA-256 of its index."""
DAMAGE = (FileNotFoundError, ValueError, KeyError, TypeError, EOFError)
"""What reading a damaged segment raises; a file that cannot be opened for another reason is not damaged."""


class Rows:
    """Arrays and files read as if they lay one after another.

    Parameters
    ----------
    parts : sequence of np.ndarray or RowFile, each shape (n, ...)
        At least one; they differ in `n` only.
    """

    def __init__(self, parts: Sequence[np.ndarray | RowFile]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self.dtype = parts[0].dtype
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def copy(self, first: np.ndarray, count: np.ndarray, place: np.ndarray, out: np.ndarray) -> None:
        """Copy spans of rows, in ascending order of where they lie.

        Parameters
        ----------
        first, count : np.ndarray, shape (n,), int64
            Spans, each within one part.
        place : np.ndarray, shape (n,), int64
            Where each goes in `out`.
        out : np.ndarray, shape (m, ...)
            C-contiguous, of the same type.
        """
        order = np.argsort(first, kind="stable")
        order = order[count[order] > 0]
        first, count, place = first[order], count[order], place[order]
        number = np.searchsorted(self._ends, first, side="right")
        begin = self._ends - [len(part) for part in self._parts]
        meets = (np.diff(first) == count[:-1]) & (np.diff(place) == count[:-1]) & (np.diff(number) == 0)
        fresh = np.flatnonzero(np.append(True, ~meets)[: len(first)])  # spans that meet on both sides are one
        size = np.add.reduceat(count, fresh) if len(fresh) else count
        source = first[fresh] - begin[number[fresh]]
        for i, row, n, at in zip(*(x.tolist() for x in (number[fresh], source, size, place[fresh])), strict=True):
            part = self._parts[i]
            if isinstance(part, RowFile):
                part.read(row, out[at : at + n])
            else:
                out[at : at + n] = part[row : row + n]


@dataclass(frozen=True)
class Found:
    """Where the rows of some digests are.

    Parameters
    ----------
    rows : Rows
    start : np.ndarray, shape (n,), int64
        First row of each digest; -1 where it is not there.
    """

    rows: Rows
    start: np.ndarray


class Recipe(Model):
    """What rows depend on besides the sequence: ``recipe.json``, for whoever looks into the folder."""

    format_version: int = FORMAT_VERSION
    code_version: int
    """Of the code that makes rows of this kind."""
    bank: str
    """Hash of the motif bank, or "bases"."""
    bin: int
    """Base pairs of a row."""
    row: tuple[int, ...]
    """Shape of a row."""
    dtype: str


class _Checksums(Model):
    """``segment.json``; keys of later versions are ignored."""

    model_config = ConfigDict(extra="ignore")

    sha256: dict[str, str]
    """By file."""
    stamp: tuple[int, int]
    """See `_stamp`: of the rows when their checksum last held."""


@dataclass(frozen=True)
class _Segment:
    """One segment, whose index is valid and in memory.

    Parameters
    ----------
    folder : Path
    sums : _Checksums
    index : np.ndarray, shape (n,), of `INDEX`
    """

    folder: Path
    sums: _Checksums
    index: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> _Segment:
        """Read all but the rows; raises one of `DAMAGE` where something is wrong."""
        sums = _Checksums.model_validate_json((folder / "segment.json").read_text(encoding="utf-8"))
        content = (folder / "index.npy").read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        if sums.sha256["index.npy"] != checksum or folder.name != checksum[:NAME_LENGTH]:
            raise ValueError("the index does not match its checksum")
        index = np.load(io.BytesIO(content), allow_pickle=False)
        if index.dtype != INDEX or index.ndim != 1 or (index["bins"] < 0).any():
            raise ValueError("the index is not one of digests and bins")
        return cls(folder, sums, index)

    @cached_property
    def start(self) -> np.ndarray:
        """First row of each element, shape (n,)."""
        bins = self.index["bins"]
        return np.cumsum(bins) - bins

    def rows(self, row: tuple[int, ...], dtype: np.dtype[Any], *, fully: bool = False) -> RowFile:
        """Open the rows once they are known to be sound; raises one of `DAMAGE` where they are not.

        What has the size and the time of change that it had when its checksum last held is not read again for that,
        unless it is to be checked `fully`.
        """
        path = self.folder / "rows.npy"
        stamp = _stamp(path)
        if fully or stamp != self.sums.stamp:
            if file_sha256(path) != self.sums.sha256["rows.npy"]:
                raise ValueError("the rows do not match their checksum")
            if stamp != self.sums.stamp:
                with contextlib.suppress(OSError):  # a folder that may only be read
                    write_model(self.folder / "segment.json", self.sums.changed(stamp=stamp))
        return RowFile(path, (int(self.index["bins"].sum()), *row), dtype)


class SegmentFolder:
    """All segments of one recipe.

    Opening reads indices only; a segment of whose rows none are wanted is not touched.

    Parameters
    ----------
    folder : Path
        Need not be there.
    recipe : Recipe
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.row, self.dtype = recipe.row, np.dtype(recipe.dtype)

    def find(self, digests: np.ndarray, *, remove_damaged: bool = False) -> Found:
        """Find rows in valid segments.

        Parameters
        ----------
        digests : np.ndarray, shape (n,), S16
            Distinct.
        remove_damaged : bool
            Remove the damaged segments that were met; the lock must be held.
        """
        segments, damaged = self._segments()
        parts: dict[Path, RowFile] = {}
        while True:
            number, place = _look_up(digests, [segment.index["digest"] for segment in segments])
            used, first = np.unique(number, return_index=True)
            used = used[np.argsort(first)]  # in the order in which they are wanted, so that reading goes forward
            used = used[used >= 0]
            for segment in (segments[i] for i in used if segments[i].folder not in parts):
                try:
                    parts[segment.folder] = segment.rows(self.row, self.dtype)
                except DAMAGE as error:
                    damaged[segment.folder] = error
            valid = [segment for segment in segments if segment.folder not in damaged]
            if len(valid) == len(segments):
                break
            segments = valid
        if remove_damaged:
            for path in damaged:
                remove_folder(path)
        start = np.full(len(digests), -1, dtype=np.int64)
        begin = 0
        for i in used:
            here = number == i
            start[here] = begin + segments[i].start[place[here]]
            begin += len(parts[segments[i].folder])
        found = [parts[segments[i].folder] for i in used]
        return Found(Rows(found or [np.empty((0, *self.row), dtype=self.dtype)]), start)

    def verify(self, *, remove: bool = True) -> tuple[int, list[str]]:
        """Compute the checksums of all segments; remove those that are damaged, for which the lock must be held.

        Returns
        -------
        sound : int
            Number of segments.
        damaged : list of str
            Folder of each of the others, and what was wrong.
        """
        segments, damaged = self._segments()
        for segment in segments:
            try:
                segment.rows(self.row, self.dtype, fully=True)
            except DAMAGE as error:
                damaged[segment.folder] = error
        if remove:
            for path in damaged:
                remove_folder(path)
        sound = sum(segment.folder not in damaged for segment in segments)
        return sound, [f"{path}: {error}" for path, error in damaged.items()]

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock of the folder, which is made if need be, free of what dead processes left there.

        Parameters
        ----------
        waiting : callable, optional
            Called once if another process holds the lock.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock", waiting):
            for path in (self.folder, *self._folders()):
                remove_leftovers(path)
            path = self.folder / "recipe.json"
            if not path.exists():
                write_model(path, self.recipe)
            yield

    def add(self, digests: np.ndarray, bins: np.ndarray, batches: Iterable[np.ndarray]) -> None:
        """Write a segment; it appears whole or not at all.

        Parameters
        ----------
        digests : np.ndarray, shape (n,), S16
        bins : np.ndarray, shape (n,), int64
            Rows of each.
        batches : iterable of np.ndarray, each shape (m, ...)
            The rows, some at a time.
        """
        index = np.empty(len(digests), dtype=INDEX)
        index["digest"], index["bins"] = digests, bins
        stream = io.BytesIO()
        np.save(stream, index)
        sums = {"index.npy": hashlib.sha256(stream.getvalue()).hexdigest()}
        place = self.folder / sums["index.npy"][:NAME_LENGTH]
        try:
            with atomic_folder(place) as temporary:
                _write(temporary / "index.npy", [stream.getvalue()])
                header = _header((int(bins.sum()), *self.row), self.dtype)
                path = temporary / "rows.npy"
                sums["rows.npy"] = _write(path, itertools.chain([header], map(np.ascontiguousarray, batches)))
                write_model(temporary / "segment.json", _Checksums(sha256=sums, stamp=_stamp(path)))
        except (OSError, EpisodeError):
            if not (place / "segment.json").exists():  # not because another process was first, where locks do not work
                raise

    def _segments(self) -> tuple[list[_Segment], dict[Path, Exception]]:
        """Read all indices; return the segments, and the folders of those that cannot be read with the reason."""
        segments: list[_Segment] = []
        damaged: dict[Path, Exception] = {}
        for path in self._folders():
            try:
                segments.append(_Segment.read(path))
            except DAMAGE as error:
                damaged[path] = error
        return segments, damaged

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if NAME.fullmatch(path.name))


def _look_up(wanted: np.ndarray, tables: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each digest the number of the first table that holds it, or -1, and its place there."""
    if not any(map(len, tables)):
        return np.full(len(wanted), -1), np.zeros(len(wanted), dtype=np.int64)
    known = np.concatenate(tables)
    number = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    place = np.concatenate([np.arange(len(table)) for table in tables])
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[at] == wanted, number[at], -1), place[at]


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What a .npy file of that shape begins with."""
    stream = io.BytesIO()
    content = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, content)
    return stream.getvalue()


def _write(path: Path, chunks: Iterable[bytes | np.ndarray]) -> str:
    """Write a file through to the disk; return its SHA-256."""
    checksum = hashlib.sha256()
    with path.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            checksum.update(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    return checksum.hexdigest()
