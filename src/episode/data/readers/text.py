"""From lines, or Parquet, to columns of text with line numbers: what all readers share.

Finds rows that cannot be split into columns. Does not know what the columns mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.readers.columns import check_names
from episode.data.readers.content import Content, fail, read_bytes
from episode.data.readers.detect import DELIMITERS, Layout, is_anchors, row_width
from episode.errors import Problem
from episode.limits import COLUMNS, TABLE_BYTES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["RawTable", "TextTable", "filled", "open_parquet", "read_parquet", "read_text", "text_of_arrow"]


_VALUE_BYTES = 8
"""Bytes that a value takes in memory, at least."""


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
    notes : tuple of str
        What was guessed, for the user to hear.
    """

    text: TextTable
    named: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, dict[str, str]] = field(default_factory=dict)
    bad_sequences: frozenset[str] = frozenset()
    sequence_sources: tuple[TextTable, ...] = ()
    assembly: str = ""
    notes: tuple[str, ...] = ()


def filled(frame: pd.DataFrame, **constants: str | None) -> pd.DataFrame:
    """Add columns of one value where a table lacks them and the value is given."""
    return frame.assign(**{name: value for name, value in constants.items() if value is not None and name not in frame})


def read_text(content: Content, layout: Layout) -> TextTable:
    """Split the lines of a table into columns.

    Blank lines, and lines that start with ``#``, are left out. Where a line with ``#`` between the rows could be a row
    or a header, it is a problem.

    Raises
    ------
    InputError
        If the header cannot name columns, or there are no rows.
    """
    file, lines, header = content.file, content.lines, layout.header
    names: list[str] = []
    if header is not None:
        names = _header(content, layout, header)
    blank = " \t" + layout.delimiter
    body = [i for i in range(layout.first, len(lines)) if lines[i].strip(blank)]
    marked = [i for i in body if lines[i].startswith("#")]
    if marked:
        body = [i for i in body if not lines[i].startswith("#")]
    if not body:
        raise fail(file, "has a header but no rows; needs at least one pair")
    cells, numbers, problems = _split(content, layout, body)
    width = len(names) or row_width(cells)
    if width > COLUMNS:
        raise fail(file, f"has {width:,} columns; needs at most {COLUMNS:,}", row=layout.first + 1)
    problems += _marked_problems(content, layout, marked, width)
    wrong = [i for i, row in enumerate(cells) if len(row) != width]
    if wrong:
        _check_row_names(file, names, cells, header)
        problems += [Problem(file, _width_need(cells[i], width, layout.delimiter), row=numbers[i]) for i in wrong]
        bad = set(wrong)
        numbers = [number for i, number in enumerate(numbers) if i not in bad]
        cells = [row for i, row in enumerate(cells) if i not in bad]
    columns = list(zip(*cells, strict=True)) if cells else [()] * width
    names = names or [str(i) for i in range(width)]
    frame = pd.DataFrame(dict(zip(names, map(list, columns), strict=True)), dtype="str")
    ordered = tuple(sorted(problems, key=lambda problem: problem.row or 0))
    return TextTable(file, frame, np.array(numbers, dtype=np.int64), content.sha256, ordered)


def _header(content: Content, layout: Layout, index: int) -> list[str]:
    """Read the names of the columns."""
    if index in content.undecoded:
        raise fail(content.file, content.undecoded[index], row=index + 1)
    try:
        names = layout.names(content.lines[index])
    except ValueError as error:
        raise fail(content.file, str(error), row=index + 1) from None
    check_names(names, content.file, index + 1)
    return names


def _split(content: Content, layout: Layout, body: list[int]) -> tuple[list[list[str]], list[int], list[Problem]]:
    """Split lines into values; return them, the 1-based numbers of their lines, and the lines that cannot be split."""
    lines, delimiter, problems = content.lines, layout.delimiter, []
    if content.undecoded or (layout.quotes and any('"' in lines[i] for i in body)):
        cells, numbers = [], []
        for i in body:
            need = content.undecoded.get(i)
            try:
                row = [] if need else layout.split(lines[i])
            except ValueError as error:
                need = str(error)
            if need:
                problems.append(Problem(content.file, need, row=i + 1))
            else:
                cells.append(row)
                numbers.append(i + 1)
    else:
        cells, numbers = [lines[i].split(delimiter) for i in body], [i + 1 for i in body]
    if content.spaced:
        cells = [[cell.strip(" ") for cell in row] for row in cells]
    return cells, numbers, problems


def _marked_problems(content: Content, layout: Layout, marked: list[int], width: int) -> list[Problem]:
    """Find the lines with ``#`` between the rows that may be more than comments."""
    problems = []
    for i in marked:
        line, header = content.lines[i], layout.header
        values = line.removeprefix("#").split(layout.delimiter)
        if len(values) != width or layout.format == "bengi":
            continue
        if layout.quotes:
            need = "starts with '#': remove the line if it is a comment, put the value in quotes if it is one"
        elif is_anchors(values) or (header is not None and line.split() == content.lines[header].split()):
            continue
        else:
            need = "is a header between the rows; needs one table in a file"
        problems.append(Problem(content.file, need, row=i + 1))
    return problems


def _check_row_names(file: str, names: list[str], cells: list[list[str]], header: int | None) -> None:
    """Refuse a table all of whose rows have one value more than the header has names."""
    if header is not None and len(cells) > 1 and all(len(row) == len(names) + 1 for row in cells):
        need = f"names {len(names)} columns where every row has {len(names) + 1} values; needs as many"
        raise fail(file, f"{need} (in R, write.table without row.names)", row=header + 1)


def _width_need(row: list[str], width: int, delimiter: str) -> str:
    loose = len(" ".join(row).split())
    count = f"{len(row)} {DELIMITERS[delimiter]}-separated field{'s' if len(row) != 1 else ''}"
    if len(row) < width and any(" " in cell for cell in row) and loose == width:
        return f"mixes {DELIMITERS[delimiter]}s and spaces: has {count}, needs {width}"
    return f"has {count}, needs {width}"


def read_parquet(path: Path) -> TextTable:
    """Read a Parquet file as text; nulls become "", and `row` is the 1-based row.

    Raises
    ------
    InputError
        If it is not Parquet, is empty, or holds nested columns.
    """
    import pyarrow as pa

    data, sha256 = read_bytes(path)
    file = str(path)
    try:
        opened = open_parquet(pa.BufferReader(data), file)
        rows, width = opened.metadata.num_rows, opened.metadata.num_columns
        if rows * width * _VALUE_BYTES > TABLE_BYTES:
            raise fail(file, f"has {rows:,} rows of {width} columns, more than fit in memory; give it in parts")
        table = opened.read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise fail(file, f"is not a readable Parquet file ({reason})") from None
    return text_of_arrow(table, file, sha256)


def open_parquet(source: str | pa.BufferReader, file: str) -> pq.ParquetFile:
    """Open a Parquet file whose header can name columns; see `check_names`.

    Raises
    ------
    InputError
        If it cannot.
    pyarrow.ArrowException, OSError
        If it is not Parquet, or cannot be read.
    """
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(source)
        names = list(opened.schema_arrow.names)
    except UnicodeDecodeError as error:
        raise fail(file, f"has a column whose name is not UTF-8 ({error.object!r})") from None
    check_names(names, file, 1)
    return opened


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
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        try:
            if pa.types.is_boolean(column.type):
                column = column.cast(pa.int8())
            text = _digits(column) if pa.types.is_floating(column.type) else column.cast(pa.string())
        except pa.ArrowException:
            raise fail(file, f"column {name!r} holds {column.type}; needs numbers or text") from None
        try:
            columns[name] = text.fill_null("").to_pandas().str.strip(" ")
        except (pa.ArrowException, UnicodeDecodeError):
            raise fail(file, f"column {name!r} holds text that is not UTF-8") from None
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
