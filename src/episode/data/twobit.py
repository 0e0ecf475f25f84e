"""2bit files, read by position: every header, count, name, offset and block is checked before a base is read.

The format: https://genome.ucsc.edu/FAQ/FAQformat.html#format7, in both byte orders and with offsets of 32 (version 0)
or 64 bits (version 1). Knows nothing about where hashes are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from episode.errors import GenomeError
from episode.files import ReadAt
from episode.text import text_problem

__all__ = ["SIGNATURES", "open_twobit"]

SIGNATURES = {b"\x43\x27\x41\x1a": "<", b"\x1a\x41\x27\x43": ">"}
"""First bytes of a file, and the byte order that they say."""

_LETTERS = np.frombuffer(b"TCAG", np.uint8)[np.arange(256)[:, None] >> np.array([6, 4, 2, 0]) & 3]
"""The four bases of a byte, shape (256, 4)."""
_LOWER = 32
"""Bit that makes a letter lower case."""

Blocks = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]
"""Starts and ends, ascending and apart."""


@dataclass(frozen=True)
class _Record:
    """Where one sequence lies: its bases are packed from byte `bases` on, up to `end`."""

    length: int
    unknown: Blocks
    lower: Blocks
    bases: int
    end: int


def open_twobit(file: ReadAt) -> tuple[dict[str, int], Callable[[str, int, int], str]]:
    """Check a 2bit file.

    Returns
    -------
    lengths : dict of str to int
        Bases by name, in the order of the file.
    read : callable
        Returns the bases of ``(name, start, end)``, which must lie on the sequence.

    Raises
    ------
    GenomeError
        If a part lies outside the file or over another, or breaks the format.
    """
    records = {}
    index, end_of_index = _index(file)
    for name, offset in index.items():
        records[name] = _record(file, name, offset)
    begin = end_of_index
    for name, offset in sorted(index.items(), key=lambda item: item[1]):
        if offset != begin:
            _damaged(file, f"sequence {name!r} begins at byte {offset:,}, but what comes before it ends at {begin:,}")
        begin = records[name].end
    if begin != file.size:
        _damaged(file, f"the last sequence ends at byte {begin:,} of {file.size:,}")

    def read(name: str, start: int, end: int) -> str:
        record = records[name]
        first, last = start // 4, -(-end // 4)
        packed = np.frombuffer(file.read(record.bases + first, last - first), np.uint8)
        letters = _LETTERS[packed].reshape(-1)[start - 4 * first :][: end - start]
        for begin, stop in _within(record.unknown, start, end):
            letters[begin:stop] = ord("N")
        for begin, stop in _within(record.lower, start, end):
            letters[begin:stop] |= _LOWER
        return letters.tobytes().decode("ascii")

    return {name: record.length for name, record in records.items()}, read


def _index(file: ReadAt) -> tuple[dict[str, int], int]:
    """Read the header and the index: where each sequence begins, by name, and where the index ends."""
    order = SIGNATURES[file.read(0, 4)]
    if file.size < 16:
        _damaged(file, f"its header has {file.size} of 16 bytes")
    version, count, reserved = np.frombuffer(file.read(4, 12), f"{order}u4").tolist()
    if version not in (0, 1) or reserved:
        raise GenomeError(f"{file.path}: is 2bit of version {version}, which is not known; needs version 0 or 1")
    width = 8 if version else 4
    if not count:
        raise GenomeError(f"{file.path}: holds no sequence")
    if count > (file.size - 16) // (2 + width):
        _damaged(file, f"it claims {count:,} sequences, more than its {file.size:,} bytes could name")
    content = file.read(16, min(file.size - 16, count * (256 + width)))
    found: dict[str, int] = {}
    at = 0
    for number in range(1, count + 1):
        end = at + 1 + (content[at] if at < len(content) else 0)
        if end + width > len(content):
            _damaged(file, f"the index ends inside entry {number:,} of {count:,}")
        name = content[at + 1 : end].decode("utf-8", "surrogateescape")
        problem = text_problem(name) if name else "is empty"
        if problem:
            raise GenomeError(f"{file.path}: the name of sequence {number:,} {problem}")
        if name in found:
            raise GenomeError(f"{file.path}: sequence {number:,}: the name {name!r} occurs twice; needs distinct names")
        found[name] = int.from_bytes(content[end : end + width], "little" if order == "<" else "big")
        at = end + width
    return found, 16 + at


def _record(file: ReadAt, name: str, offset: int) -> _Record:
    """Read all of a sequence but its bases."""
    order, at = SIGNATURES[file.read(0, 4)], offset

    def numbers(count: int) -> npt.NDArray[np.int64]:
        nonlocal at
        if at + 4 * count > file.size:
            _damaged(file, f"the blocks of sequence {name!r} end past byte {file.size:,}, where the file does")
        values = np.frombuffer(file.read(at, 4 * count), f"{order}u4").astype(np.int64)
        at += 4 * count
        return values

    def blocks(what: str) -> Blocks:
        (count,) = numbers(1)
        starts = numbers(int(count))
        ends = starts + numbers(int(count))
        if count and not (ends[-1] <= length and (starts <= ends).all() and (starts[1:] >= ends[:-1]).all()):
            _damaged(file, f"the blocks of {what} in sequence {name!r} overlap or pass its {length:,} bases")
        return starts.astype(np.uint32), ends.astype(np.uint32)

    length = int(numbers(1)[0])
    unknown, lower = blocks("N"), blocks("lower case")
    if numbers(1)[0]:
        _damaged(file, f"sequence {name!r} lacks the zero in front of its bases")
    end = at + -(-length // 4)
    if end > file.size:
        _damaged(file, f"the {length:,} bases of sequence {name!r} end at byte {end:,} of {file.size:,}")
    return _Record(length, unknown, lower, at, end)


def _within(blocks: Blocks, start: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of blocks that lie in an interval, as offsets from its start."""
    starts, ends = blocks
    here = slice(np.searchsorted(ends, start, side="right"), np.searchsorted(starts, end, side="left"))
    found = zip(starts[here].tolist(), ends[here].tolist(), strict=True)
    return [(max(begin - start, 0), min(stop, end) - start) for begin, stop in found]


def _damaged(file: ReadAt, what: str) -> NoReturn:
    raise GenomeError(f"{file.path}: is a damaged or truncated 2bit file: {what}")
