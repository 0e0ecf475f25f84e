"""From a path to lines of text: the file is looked at, read once, unpacked within bounds and decoded.

Finds what is wrong with a file as a file (missing, a pipe, empty, truncated, too large, not text). Does not know what
the lines mean.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from episode.data.readers.foreign import foreign_bytes
from episode.errors import InputError, Problem
from episode.limits import GZIP_RATIO, TABLE_BYTES, UNCHECKED_BYTES

__all__ = ["Content", "check_place", "fail", "read_bytes", "read_content"]

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Content:
    """A text file, read once.

    Parameters
    ----------
    file : str
        Path as the user gave it.
    lines : list of str
        Without line ends.
    sha256 : str
        Of the file's bytes.
    undecoded : dict of int to str
        Index of each line that is not UTF-8, and what is wrong with it.
    spaced : bool
        There are spaces.
    """

    file: str
    lines: list[str]
    sha256: str
    undecoded: dict[int, str]
    spaced: bool


def fail(path: Path | str, need: str, *, row: int | None = None, hint: str | None = None) -> InputError:
    """Make the error for a problem of a whole file."""
    return InputError([Problem(str(path), need, row=row)], hint)


def check_place(path: Path | str) -> os.stat_result:
    """Refuse what is not a file on disk, which can be read again; a pipe or a device might never end.

    Raises
    ------
    InputError
        If it is not.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise fail(path, "no such file") from None
    except OSError as error:
        raise fail(path, f"cannot be read ({error.strerror})") from None
    if stat.S_ISDIR(found.st_mode):
        raise fail(path, "is a folder; needs a table")
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        what = "pipe" if stat.S_ISFIFO(found.st_mode) else "socket"
        raise fail(path, f"is a {what}, which cannot be read again; save the rows to a file and give that")
    if not stat.S_ISREG(found.st_mode):
        raise fail(path, "is a device; needs a table in a file")
    return found


def read_bytes(path: Path) -> tuple[bytes, str]:
    """Return a file's content, gunzipped where it is gzip, and the SHA-256 of the file as it lies on disk.

    Raises
    ------
    InputError
        If it cannot be read, is damaged, is larger than `limits` allow, or holds nothing.
    """
    size = check_place(path).st_size
    if size > TABLE_BYTES:
        raise fail(path, f"has {size:,} bytes; needs at most {TABLE_BYTES:,} (predict reads larger tables as Parquet)")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise fail(path, f"cannot be read ({error.strerror})") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if data.startswith(_GZIP):
        data = _gunzip(path, data)
    if not data.removeprefix(_BOM).strip():
        raise fail(path, "is empty; needs at least one pair")
    return data, sha256


def _gunzip(path: Path, packed: bytes) -> bytes:
    """Unpack in chunks, and stop where more comes out than a table has."""
    most = min(TABLE_BYTES, max(UNCHECKED_BYTES, GZIP_RATIO * len(packed)))
    chunks, total = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            while chunk := stream.read(_CHUNK):
                chunks.append(chunk)
                total += len(chunk)
                if total > most:
                    need = f"unpacks from {len(packed):,} to more than {most:,} bytes, which no table of pairs does"
                    raise fail(path, f"{need}; unpack it first if it is meant")
    except EOFError:
        raise fail(path, "is a truncated gzip file: it ends in mid-stream; copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise fail(path, f"is a damaged gzip file ({error}); copy it again") from None
    return b"".join(chunks)


def read_content(path: Path) -> Content:
    """Read a text file, plain or gzip: UTF-8 with or without byte-order mark, line ends LF, CRLF or CR.

    Raises
    ------
    InputError
        If it cannot be read, or is not text.
    """
    data, sha256 = read_bytes(path)
    file = str(path)
    what = foreign_bytes(data)
    if what is None and b"\x00" in data:
        what = "is not a text file; needs UTF-8 text with tabs or commas, or Parquet"
    if what is not None:
        raise fail(file, what)
    data = data.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        lines, undecoded = _decode_lines(data)
        return Content(file, lines, sha256, undecoded, spaced=True)
    return Content(file, text.split("\n"), sha256, {}, spaced=" " in text)


def _decode_lines(data: bytes) -> tuple[list[str], dict[int, str]]:
    lines, undecoded = [], {}
    for index, line in enumerate(data.split(b"\n")):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            lines.append(line.decode("utf-8", "replace"))
            byte = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
            undecoded[index] = f"{byte} is not UTF-8; save the file as UTF-8"
    return lines, undecoded
