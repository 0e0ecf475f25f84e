"""From a file's bytes to columns of text with line numbers: what all readers share.

Finds what is wrong with a file as a file (missing, empty, truncated, not text, rows of the wrong width).
Does not know what the columns mean.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.errors import InputError, Problem
from episode.text import shorten, text_problem

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "RawTable",
    "TextTable",
    "column_list",
    "fail",
    "filled",
    "first_line",
    "is_number",
    "read_bytes",
    "read_parquet",
    "read_text",
    "text_of_arrow",
]

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = {"\t": "tab", ",": "comma"}


@dataclass(frozen=True)
class TextTable:
    """A file as text.

    Parameters
    ----------
    file : str
        Path as the user gave it.
    frame : DataFrame of str
        Columns under the file's own names, or "0", "1", ... where it has no header.
    row : int64 array, shape (n_rows,)
        1-based line of each row.
    sha256 : str
        Of the file's bytes.
    problems : tuple of Problem
        Rows that could not be split into columns; they are not in `frame`.
    """

    file: str
    frame: pd.DataFrame
    row: npt.NDArray[np.int64]
    sha256: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class RawTable:
    """A table whose columns have the library's names but whose values are still text.

    Parameters
    ----------
    text : TextTable
        `text.frame` has canonical column names (see `episode.data.validation`) and any others.
    named : dict of str to str
        The file's own name of each canonical column, for messages.
    sequences : dict of str to dict of str to str
        Of each side, DNA by name, where the format brings sequences in files of their own.
    bad_sequences : frozenset of str
        Names left out of the sequences because they are not DNA.
    sequence_sources : tuple of TextTable
        The files that those sequences came from.
    assembly : str
        "hg19", "hg38" or "".
    """

    text: TextTable
    named: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, dict[str, str]] = field(default_factory=dict)
    bad_sequences: frozenset[str] = frozenset()
    sequence_sources: tuple[TextTable, ...] = ()
    assembly: str = ""


def filled(frame: pd.DataFrame, **constants: str | None) -> pd.DataFrame:
    """Add columns of one value where a table lacks them and the value is given."""
    return frame.assign(**{name: value for name, value in constants.items() if value is not None and name not in frame})


def fail(path: Path | str, need: str, *, row: int | None = None, hint: str | None = None) -> InputError:
    """Make the error for a problem of a whole file."""
    return InputError([Problem(str(path), need, row=row)], hint)


def read_bytes(path: Path) -> tuple[bytes, str]:
    """Return a file's content, gunzipped where it is gzip, and the SHA-256 of the file as it lies on disk."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise fail(path, "no such file") from None
    except IsADirectoryError:
        raise fail(path, "is a folder; needs a table") from None
    except OSError as error:
        raise fail(path, f"cannot be read ({error.strerror})") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except EOFError:
            raise fail(path, "is a truncated gzip file: it ends in mid-stream; copy it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise fail(path, f"is a damaged gzip file ({error}); copy it again") from None
    if not data.strip():
        raise fail(path, "is empty; needs at least one pair")
    return data, sha256


def first_line(path: Path) -> str:
    """Return the first line that is not blank, without its line end, whatever its encoding."""
    data, _ = read_bytes(path)
    head = data.lstrip()[: 1 << 20].removeprefix(_BOM)
    return head.splitlines()[0].decode("utf-8", "replace")


def is_number(text: str) -> bool:
    """Tell whether text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(data: bytes, file: str) -> tuple[list[str], list[Problem]]:
    """Split into lines (LF, CRLF or CR); a line that is not UTF-8 becomes blank and a problem."""
    if b"\x00" in data:
        raise fail(file, "is not a text file; needs UTF-8 text with tabs or commas, or Parquet")
    data = data.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return data.decode("utf-8").split("\n"), []
    except UnicodeDecodeError:
        pass
    lines, problems = [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            lines.append("")
            byte = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
            need = f"{byte} is not UTF-8; save the file as UTF-8"
            if number == 1:
                raise fail(file, need, row=number) from None
            problems.append(Problem(file, need, row=number))
    return lines, problems


def _split(lines: list[str], first: int, delimiter: str, file: str) -> tuple[list[list[str]], list[int]]:
    """Split the lines from index `first` on; return cells and 1-based line numbers, blank lines left out."""
    body = lines[first:]
    if not any('"' in line for line in body):
        numbers = [first + i for i, line in enumerate(body, start=1) if line.strip()]
        cells = [line.split(delimiter) for line in body if line.strip()]
    else:
        cells, numbers = [], []
        reader = csv.reader((line + "\n" for line in body), delimiter=delimiter)
        try:
            before = 0
            for record in reader:
                if any(cell.strip() for cell in record):
                    cells.append(record)
                    numbers.append(first + before + 1)
                before = reader.line_num
        except csv.Error as error:
            raise fail(file, f"cannot be read as CSV ({error})", row=first + reader.line_num) from None
    if any(" " in line for line in body):
        cells = [[cell.strip(" ") for cell in row] for row in cells]
    return cells, numbers


def read_text(path: Path, *, header: bool, delimiter: str | None = None, skip: str | None = None) -> TextTable:
    """Read a delimited text file, plain or gzip.

    Parameters
    ----------
    path : Path
        UTF-8, with or without byte-order mark; line ends LF, CRLF or CR; blank lines are skipped.
    header : bool
        Whether the first line names the columns.
    delimiter : str, optional
        Tab or comma; by default that of the first line.
    skip : str, optional
        Lines that start with this text before the first row are skipped.

    Raises
    ------
    InputError
        If the file as a whole cannot be read.
    """
    data, sha256 = read_bytes(path)
    file = str(path)
    lines, problems = _lines(data, file)
    first = next(i for i, line in enumerate(lines) if line.strip() and not (skip and line.startswith(skip)))
    allowed = [delimiter] if delimiter else list(_DELIMITERS)
    delimiter = next((d for d in allowed if d in lines[first]), allowed[-1])
    if delimiter not in lines[first] and len(lines[first].split()) > 1:
        need = f"separates columns by spaces; needs a {' or a '.join(_DELIMITERS[d] for d in allowed)} between"
        raise fail(file, need, row=first + 1)
    cells, numbers = _split(lines, first, delimiter, file)
    names: list[str] = []
    if header:
        names, line = [name.strip() for name in cells.pop(0)], numbers.pop(0)
        _check_header(names, file, line)
        if not cells and not problems:
            raise fail(file, "has a header but no rows; needs at least one pair")
    width = len(names) if header else max(set(map(len, cells)), key=list(map(len, cells)).count)
    wrong = [i for i, row in enumerate(cells) if len(row) != width]
    for i in wrong:
        problems.append(Problem(file, _width_need(cells[i], width, delimiter), row=numbers[i]))
    if wrong:
        bad = set(wrong)
        numbers = [number for i, number in enumerate(numbers) if i not in bad]
        cells = [row for i, row in enumerate(cells) if i not in bad]
    columns = list(zip(*cells, strict=True)) if cells else [()] * width
    names = names or [str(i) for i in range(width)]
    frame = pd.DataFrame(dict(zip(names, map(list, columns), strict=True)), dtype="str")
    return TextTable(file, frame, np.array(numbers, dtype=np.int64), sha256, tuple(problems))


def _check_header(names: list[str], file: str, line: int) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise fail(file, f"names column {twice[0]!r} more than once; every column needs a name of its own", row=line)
    if "" in names:
        raise fail(file, f"has no name for column {names.index('') + 1}; every column needs a name", row=line)
    for number, name in enumerate(names, start=1):
        problem = text_problem(name)
        if problem is not None:
            raise fail(file, f"the name {shorten(name)!r} of column {number} {problem}", row=line)
    spaced = [name for name in names if len(name.split()) > 1 and any("_" in part for part in name.split())]
    if spaced:
        raise fail(file, f"mixes tabs or commas with spaces in its header: {spaced[0]!r}", row=line)


def _width_need(row: list[str], width: int, delimiter: str) -> str:
    loose = len(" ".join(row).split())
    count = f"{len(row)} {_DELIMITERS[delimiter]}-separated field{'s' if len(row) != 1 else ''}"
    if len(row) < width and any(" " in cell for cell in row) and loose == width:
        return f"mixes {_DELIMITERS[delimiter]}s and spaces: has {count}, needs {width}"
    return f"has {count}, needs {width}"


def read_parquet(path: Path) -> TextTable:
    """Read a Parquet file as text; nulls become "", and `row` is the 1-based row.

    Raises
    ------
    InputError
        If it is not Parquet, is empty, or holds nested columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data, sha256 = read_bytes(path)
    file = str(path)
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise fail(file, f"is not a readable Parquet file ({reason})") from None
    return text_of_arrow(table, file, sha256)


def text_of_arrow(table: pa.Table, file: str, sha256: str, first: int = 1) -> TextTable:
    """Turn a Parquet table, or a block of its rows, into text.

    Parameters
    ----------
    table : pyarrow.Table
    file : str
        Path as the user gave it.
    sha256 : str
        Of the file.
    first : int
        1-based row of the file that the block starts at.

    Raises
    ------
    InputError
        If there are no rows, or a column is nested.
    """
    import pyarrow as pa

    if table.num_rows == 0:
        raise fail(file, "has columns but no rows; needs at least one pair")
    _check_header(table.column_names, file, 1)
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        try:
            if pa.types.is_boolean(column.type):
                column = column.cast(pa.int8())
            text = _digits(column) if pa.types.is_floating(column.type) else column.cast(pa.string())
        except pa.ArrowException:
            raise fail(file, f"column {name!r} holds {column.type}; needs numbers or text") from None
        columns[name] = text.fill_null("").to_pandas().str.strip(" ")
    frame = pd.DataFrame(columns).astype("str")
    return TextTable(file, frame, np.arange(first, first + len(frame), dtype=np.int64), sha256)


def _digits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write floats so that they read back the same, whole numbers with all their digits if the type holds these.

    Larger ones keep an exponent, so that nobody takes their last digits for exact.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    exact = {2: 1 << 11, 4: 1 << 24, 8: 1 << 53}[column.type.bit_width // 8]
    wide = column.cast(pa.float64())
    size = pc.abs(wide)
    plain = pc.and_(pc.less(size, exact), pc.equal(pc.floor(wide), wide))
    whole = pc.if_else(plain, wide, 0.0).cast(pa.int64()).cast(pa.string())
    vague = pc.and_(pc.greater_equal(size, exact), pc.is_finite(wide)).fill_null(False)
    text = column.cast(pa.string())
    if pc.any(vague).as_py():
        values, large = column.to_numpy(), vague.to_numpy()
        powers = np.full(len(values), "", dtype=object)
        powers[large] = [np.format_float_scientific(value, trim="-") for value in values[large]]
        text = pc.if_else(vague, pa.array(powers, pa.string()), text)
    return pc.if_else(plain, whole, text)


def column_list(names: list[str]) -> str:
    """Return column names for a message, at most 20 of them."""
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
