"""Tables as lines of tab-separated fields: numbers in full, and no text that could pass for the end of a field.

A float is written as the shortest digits that give the same float back; whole numbers are whole. Text that holds a tab,
a line end or another character that `episode.text` forbids is refused here too: it could forge a record. Does not know
what columns mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from episode.errors import EpisodeError
from episode.text import forbidden_characters

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["escaped", "first_line", "line_bytes", "lines_of", "write_tsv"]


def write_tsv(table: pd.DataFrame, path: Path, *, header: bool = True, quoted: bool = True) -> None:
    """Write a table as TSV; a value that is not known (None, NaN) is empty.

    A field that holds a quotation mark is quoted, as the `csv` module's dialect "excel-tab" has it; no other is, and
    none without `quoted`, which BED needs.

    Raises
    ------
    EpisodeError
        If text holds a character that could end a field or a line.
    """
    import pyarrow as pa

    content = pa.Table.from_pandas(table, preserve_index=False)
    with path.open("wb") as stream:
        if header:
            stream.write(first_line(content.column_names, quoted=quoted))
        stream.write(line_bytes(lines_of(content, quoted=quoted)))


def escaped(table: pd.DataFrame) -> pd.DataFrame:
    """Show forbidden characters of text as a Python string has them: for what is quoted from a bad file."""
    texts = table.select_dtypes(["str", "object"]).astype("str")
    return table.assign(**{str(name): _escaped(texts[name]) for name in texts})


def first_line(names: list[str], *, quoted: bool = True) -> bytes:
    """Return the header of a table with these columns; see `lines_of`."""
    import pyarrow as pa

    return "\t".join(_text(pa.array(names, pa.large_string()), "the header", quoted).to_pylist()).encode() + b"\n"


def lines_of(table: pa.Table, *, quoted: bool = True) -> pa.LargeStringArray:
    """Return each row of a table as a line, its end included.

    Parameters
    ----------
    quoted : bool
        Quote fields that hold quotation marks; otherwise all text is written as it is.

    Raises
    ------
    EpisodeError
        See `write_tsv`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing, tab, end = (pa.scalar(text, pa.large_string()) for text in ("", "\t", "\n"))
    fields = [_field(table.column(name).combine_chunks(), name, quoted) for name in table.column_names]
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*fields, tab), nothing, end)


def line_bytes(lines: pa.LargeStringArray) -> memoryview | bytes:
    """Return all lines, one after another as Arrow holds them, in UTF-8."""
    if not len(lines):
        return b""
    _, offsets, content = lines.buffers()
    start, end = np.frombuffer(offsets, dtype=np.int64)[[lines.offset, lines.offset + len(lines)]]
    return memoryview(content)[start:end]


def _field(column: pa.Array, name: str, quoted: bool) -> pa.LargeStringArray:
    """One field a row, as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text(column, f"column {name!r}", quoted)
    if pa.types.is_boolean(kind):
        column = pc.if_else(column, "True", "False")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    return pc.fill_null(column.cast(pa.large_string()), "")


def _text(column: pa.Array, where: str, quoted: bool) -> pa.LargeStringArray:
    """Check each distinct text once, and quote it where that is needed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.fill_null(column.cast(pa.large_string()), "").dictionary_encode()
    distinct = codes.dictionary.to_pandas().astype("str")
    bad = forbidden_characters(distinct)
    if bad.any():
        raise EpisodeError(f"{where}: {distinct[bad].iloc[0]!r} holds a character that cannot be in a line of a table")
    marked = distinct.str.contains('"', regex=False).to_numpy(bool)
    if quoted and marked.any():
        distinct = distinct.mask(marked, '"' + distinct.str.replace('"', '""', regex=False) + '"')
    return pa.array(distinct, pa.large_string()).take(codes.indices)


def _escaped(values: pd.Series) -> pd.Series:
    bad = forbidden_characters(values)
    return values.mask(bad, values.map(lambda text: repr(text)[1:-1])) if bad.any() else values
