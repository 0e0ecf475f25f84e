"""Arrays that stay in their files: read slice by slice, never mapped.

What a process maps of a file ends it without a word if the file shrinks, and counts as its memory. Here that is an
error, and a slice is a copy. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

import math
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from episode.files import ReadAt

__all__ = ["ByteArray", "RowFile"]

SLICE = 16 << 20
"""Bytes of a slice of a pass over a whole file."""


class RowFile:
    """Rows in a ``.npy`` file, read when they are asked for.

    Parameters
    ----------
    path : Path
    shape : tuple of int
    dtype : numpy dtype

    Raises
    ------
    ValueError
        If the file does not hold an array of this shape and type.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self._row_bytes = dtype.itemsize * math.prod(shape[1:])
        self._file = ReadAt(path)
        with self._file.stream() as stream:
            found, self._begin = _header(stream), stream.tell()
        if found != (shape, False, dtype) or self._file.size != self._begin + shape[0] * self._row_bytes:
            raise ValueError(f"the rows are not {'x'.join(map(str, shape))} of {dtype.name}")

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, out: np.ndarray) -> None:
        """Fill `out`, shape (n, ...), with the rows from `first` on.

        Raises
        ------
        EpisodeError
            If the file has become shorter.
        """
        self._file.fill(self._begin + first * self._row_bytes, memoryview(out).cast("B"))


class ByteArray:
    """A one-dimensional array of uint8 in a file, ``.npy`` or, by any other suffix, the bytes alone.

    To be sliced (step 1); `numpy.asarray` reads all of it.

    Raises
    ------
    ValueError
        If a ``.npy`` file does not hold such an array, or not all of it.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path) -> None:
        self._file, self._begin = ReadAt(path), 0
        size = self._file.size
        if path.suffix == ".npy":
            with self._file.stream() as stream:
                (shape, _, dtype), self._begin = _header(stream), stream.tell()
            if dtype != self.dtype or len(shape) != 1:
                raise ValueError(f"holds {dtype} of {len(shape)} dimensions; needs uint8 of one")
            size -= self._begin
            if size != shape[0]:
                raise ValueError(f"holds {size} bytes where its header says {shape[0]}")
        self.shape = (size,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, span: slice) -> npt.NDArray[np.uint8]:
        """Read a slice; an `EpisodeError` if the file has become shorter."""
        first, last, _ = span.indices(len(self))
        out = np.empty(max(last - first, 0), dtype=self.dtype)
        self._file.fill(self._begin + first, memoryview(out))
        return out

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def slices(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Read all of it, some at a time."""
        for first in range(0, len(self), SLICE):
            yield self[first : first + SLICE]


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what a .npy file begins with: shape, whether it is in Fortran order, and type."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("is a .npy file of another version")
    try:
        return np.lib.format.read_array_header_1_0(stream)
    except tokenize.TokenError as error:
        raise ValueError(f"its header cannot be read ({error})") from None
