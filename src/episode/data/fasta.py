"""FASTA files, plain or BGZF: one pass hashes a file, indexes it and checks it line by line; then bases by position.

What an index cannot describe (lines of unequal length, blanks among the bases, a name that occurs twice) is refused,
since every later base would be another. Knows nothing about where indexes are kept.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from episode.errors import GenomeError
from episode.files import ReadAt
from episode.text import text_problem

__all__ = ["FastaIndex", "index_fasta", "is_bgzf", "open_fasta"]

_CHUNK = 1 << 20
_BLOCK = 1 << 16
"""Bytes that a BGZF block has at most, packed or not."""
_NAME_LINE = 1 << 20
"""Bytes that the name line of a sequence may have."""
_NEWLINE, _RETURN, _NAME = b"\n\r>"
_LETTERS = bytes(range(0x21, 0x7F))
_ODD = np.array([byte not in _LETTERS + b"\r\n" for byte in range(256)])
"""Bytes that are neither printable letters nor ends of lines."""


@dataclass
class _Record:
    """A sequence: `length` bases from byte `offset` on, in lines of `bases` letters and `width` bytes."""

    length: int = 0
    offset: int = 0
    bases: int = 0
    width: int = 0


@dataclass
class FastaIndex:
    """Where the bases of a FASTA file are.

    Parameters
    ----------
    records : dict of str to _Record
    blocks : list of (int, int)
        Of BGZF: for each block that holds something, and for the end, the byte of the file and the unpacked byte.
    """

    records: dict[str, _Record] = field(default_factory=dict)
    blocks: list[tuple[int, int]] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> FastaIndex:
        """Take back what `content` returned."""
        records = {name: _Record(**record) for name, record in content["records"].items()}
        return cls(records, [(place, unpacked) for place, unpacked in content["blocks"]])


def is_bgzf(head: bytes) -> bool:
    """Tell BGZF (gzip with the extra field "BC") from ordinary gzip by the first 18 bytes."""
    return len(head) >= 18 and head[:2] == b"\x1f\x8b" and bool(head[3] & 4) and head[12:14] == b"BC"


def open_fasta(file: ReadAt, index: FastaIndex) -> Callable[[str, int, int], str]:
    """Return what reads the bases of ``(name, start, end)``, which must lie on the sequence."""
    read = _unpacked(file, index.blocks) if index.blocks else file.read

    def bases(name: str, start: int, end: int) -> str:
        record = index.records[name]
        first, last = (
            record.offset + place // record.bases * record.width + place % record.bases for place in (start, end - 1)
        )
        return read(first, last + 1 - first).translate(None, b"\r\n").decode("latin-1")

    return bases


def index_fasta(file: ReadAt) -> tuple[FastaIndex, str]:
    """Index a file, and return the SHA-256 of its bytes.

    Raises
    ------
    GenomeError
        If it is damaged, no FASTA, or cannot be indexed; names the line.
    """
    digest, index = hashlib.sha256(), FastaIndex()
    reader = _Reader(file, index)
    for chunk in (_inflate if is_bgzf(file.read(0, min(18, file.size))) else _plain)(file, digest.update, index):
        reader.take(chunk)
    reader.end()
    return index, digest.hexdigest()


def _plain(file: ReadAt, seen: Callable[[bytes], None], index: FastaIndex) -> Iterator[bytes]:
    for at in range(0, file.size, _CHUNK):
        chunk = file.read(at, min(_CHUNK, file.size - at))
        seen(chunk)
        yield chunk


def _inflate(file: ReadAt, seen: Callable[[bytes], None], index: FastaIndex) -> Iterator[bytes]:
    """Unpack BGZF block by block, and note where blocks begin."""
    at = unpacked = 0
    content = b""
    while at < file.size:
        block = file.read(at, min(_BLOCK, file.size - at))
        size = int.from_bytes(block[16:18], "little") + 1
        if not is_bgzf(block) or size > len(block):
            raise GenomeError(f"{file.path}: is damaged or truncated: no whole BGZF block at byte {at:,}")
        content = _inflated(file, at, block[:size])
        seen(block[:size])
        if content:
            index.blocks.append((at, unpacked))
            yield content
        at += size
        unpacked += len(content)
    if content:
        raise GenomeError(f"{file.path}: is truncated: it lacks the empty block that ends a BGZF file")
    index.blocks.append((at, unpacked))


def _inflated(file: ReadAt, at: int, block: bytes) -> bytes:
    try:
        content = zlib.decompress(block, 31)
    except zlib.error as error:
        raise GenomeError(
            f"{file.path}: is damaged: the BGZF block at byte {at:,} cannot be unpacked ({error})"
        ) from None
    if len(content) > _BLOCK:
        raise GenomeError(f"{file.path}: is damaged: the BGZF block at byte {at:,} unpacks to {len(content):,} bytes")
    return content


def _unpacked(file: ReadAt, blocks: list[tuple[int, int]]) -> Callable[[int, int], bytes]:
    """Return what reads unpacked bytes by position."""
    places, begins = np.array(blocks, dtype=np.int64).T

    @functools.lru_cache(maxsize=64)
    def inflated(number: int) -> bytes:
        at, end = int(places[number]), int(places[number + 1])
        return _inflated(file, at, file.read(at, end - at))

    def read(at: int, count: int) -> bytes:
        first = int(np.searchsorted(begins, at, side="right")) - 1
        last = int(np.searchsorted(begins, at + count, side="left"))
        content = b"".join(map(inflated, range(first, last)))
        return content[at - int(begins[first]) :][:count]

    return read


class _Reader:
    """Lines of a FASTA file, as they come in chunks."""

    def __init__(self, file: ReadAt, index: FastaIndex) -> None:
        self._file, self._records = file, index.records
        self._line, self._at = 1, 0
        """Number of the line that is open, and unpacked bytes before the next chunk."""
        self._start = 0
        """Where the open line starts."""
        self._begun = b""
        """Its bytes so far if it is a name line; else its first byte at most."""
        self._last = 0
        """The byte before the next chunk."""
        self._record = _Record()
        self._closed = False
        """A line of the record was shorter than the first."""

    def take(self, content: bytes) -> None:
        """Read a chunk."""
        chunk = np.frombuffer(content, np.uint8)
        ends = np.flatnonzero(chunk == _NEWLINE)
        starts = np.append(0, ends + 1)
        returned = chunk[ends - 1] == _RETURN
        returned[:1] = (self._last if len(ends) and not ends[0] else chunk[ends[:1] - 1]) == _RETURN
        if not self._at and chunk[0] != _NAME:
            self._refuse(1, "does not begin with '>'")
        names = starts[starts < len(chunk)]
        is_name = chunk[names] == _NAME
        if self._begun:
            is_name[0] = self._begun[0] == _NAME
        named = np.flatnonzero(is_name)
        if self._last == _RETURN and chunk[0] != _NEWLINE and self._begun[:1] != b">":
            self._refuse(self._line, "a carriage return inside the line; needs lines that end in LF or CRLF")
        if content.translate(None, _LETTERS + b"\n"):  # else there is nothing to check; this is the faster
            self._check_letters(chunk, starts, named)
        begin = np.append(self._start, self._at + starts[1:-1]) if len(ends) else ends
        width = self._at + ends - begin
        done = 0
        for number in named.tolist():
            if number == len(ends):
                break
            self._sequence(done, begin[done:number], width[done:number], returned[done:number])
            text = (self._begun if number == 0 else b"") + chunk[starts[number] : ends[number]].tobytes()
            self._name(self._line + number, text, self._at + int(ends[number]) + 1)
            done = number + 1
        self._sequence(done, begin[done:], width[done:], returned[done:])
        self._line += len(ends)
        if len(ends):
            self._start, self._begun = self._at + int(starts[-1]), b""
        if not self._begun or self._begun[0] == _NAME:
            begun = self._begun + chunk[starts[-1] :][: _NAME_LINE + 1].tobytes()
            self._begun = begun if begun[:1] == b">" else begun[:1]
            if len(begun) > _NAME_LINE and begun[:1] == b">":
                self._refuse(self._line, f"a name line of more than {_NAME_LINE:,} bytes")
        self._last = int(chunk[-1])
        self._at += len(chunk)

    def end(self) -> None:
        """Take the last line, whose end may be missing."""
        if self._begun:
            self.take(b"\n")
        if not any(record.length for record in self._records.values()):
            raise GenomeError(f"{self._file.path}: holds no sequence")

    def _name(self, line: int, text: bytes, offset: int) -> None:
        if b"\r" in text[:-1]:
            self._refuse(line, "a carriage return inside the line; needs lines that end in LF or CRLF")
        if not text[1:].strip() or text[1:2].isspace():
            self._refuse(line, "a record without a name; needs '>name'")
        name = text[1:].split(maxsplit=1)[0].decode("utf-8", "surrogateescape")
        problem = text_problem(name)
        if problem:
            self._refuse(line, f"the name {problem}")
        if name in self._records:
            self._refuse(line, f"the name {name!r} occurs a second time; needs distinct names")
        self._record = self._records[name] = _Record(offset=offset)
        self._closed = False

    def _sequence(
        self, number: int, begin: npt.NDArray[Any], width: npt.NDArray[Any], returned: npt.NDArray[np.bool_]
    ) -> None:
        """Take lines of the open record, the first of them the `number`-th of the chunk."""
        if not len(begin):
            return
        record, bases = self._record, width - returned
        if not record.width:
            record.bases, record.width = int(bases[0]), int(width[0]) + 1
            self._closed = not record.bases
        same = (bases == record.bases) & (width + 1 == record.width)
        full = 0 if self._closed else (len(same) if same.all() else int(np.argmin(same)))
        if full < len(bases):
            left = bases[full:]
            if not self._closed and left[0] > record.bases:
                self._refuse(self._line + number + full, self._unequal(int(left[0]), record))
            more = np.flatnonzero(left[0 if self._closed else 1 :])
            if len(more):
                at = full + int(more[0]) + (not self._closed)
                self._refuse(self._line + number + at, self._unequal(int(bases[at]), record, after=True))
            self._closed = True
        record.length += int(bases.sum())

    @staticmethod
    def _unequal(bases: int, record: _Record, *, after: bool = False) -> str:
        where = " after a shorter or blank line" if after else ""
        return (
            f"{bases:,} letters{where} in a sequence with lines of {record.bases:,}; needs lines of equal length, "
            "but for the last (samtools faidx has the same rule; seqkit seq -w 60 rewrites a file)"
        )

    def _check_letters(self, chunk: npt.NDArray[np.uint8], starts: npt.NDArray[Any], named: npt.NDArray[Any]) -> None:
        """Refuse blanks, control characters and bytes past ASCII among the bases."""
        odd = np.flatnonzero(_ODD[chunk])
        returns = np.flatnonzero(chunk[:-1] == _RETURN)
        odd = np.append(odd, returns[chunk[returns + 1] != _NEWLINE])
        line = np.searchsorted(starts, odd, side="right") - 1
        bad = np.flatnonzero(~np.isin(line, named))
        if len(bad):
            byte = int(chunk[odd[bad[0]]])
            what = "a blank" if byte in b" \t" else f"the byte 0x{byte:02X}"
            self._refuse(self._line + int(line[bad[0]]), f"{what} among the bases; needs letters only")

    def _refuse(self, line: int, what: str) -> NoReturn:
        raise GenomeError(f"{self._file.path}: cannot be read as FASTA: line {line:,}: {what}")
