"""Reader of BEDPE: the first anchor is the enhancer, the second the promoter.

Does not judge values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from episode.data.readers.text import RawTable, TextTable, fail, first_line, is_number, read_text
from episode.data.readers.tidy import fill_constant, rename

__all__ = ["BEDPE_COLUMNS", "read_bedpe"]

BEDPE_COLUMNS = (
    "enhancer_chrom",
    "enhancer_start",
    "enhancer_end",
    "promoter_chrom",
    "promoter_start",
    "promoter_end",
    "name",
    "score",
    "strand1",
    "strand2",
)
"""The ten standard columns; `name`, `score` and the strands are carried through."""

EXTRA_COLUMNS = ("label", "cell_line", "assay")
"""Columns 11 to 13 of a file without header; further ones are carried through as ``column_14`` and so on."""


def read_bedpe(path: Path, *, columns: Mapping[str, str], cell_line: str | None, assay: str | None) -> list[RawTable]:
    """Read one BEDPE file (see `docs/formats.md`).

    Raises
    ------
    InputError
        If the file cannot be read, has fewer than six columns, or nothing names its cell line.
    """
    cells = first_line(path).split("\t")
    header = len(cells) >= 6 and not any(is_number(cells[i]) for i in (1, 2, 4, 5))
    text = read_text(path, header=header, delimiter="\t", skip=None if header else "#")
    width = text.frame.shape[1]
    if width < 6:
        raise fail(path, f"has {width} columns; BEDPE needs at least 6: {', '.join(BEDPE_COLUMNS[:6])}")
    raw = rename(_standard_names(text, header), columns)
    frame = raw.text.frame
    for column in ("label", "cell_line", "assay"):
        if column in frame:
            frame = frame.assign(**{column: frame[column].where(frame[column] != ".", "")})
    raw = replace(raw, text=replace(raw.text, frame=frame))
    raw = fill_constant(fill_constant(raw, "cell_line", cell_line), "assay", assay)
    if "cell_line" not in raw.text.frame:
        raise fail(
            path,
            "has no cell line: neither a column cell_line (column 12 without a header) nor --cell-line NAME",
        )
    return [raw]


def _standard_names(text: TextTable, header: bool) -> TextTable:
    """Name the first ten columns by position, the others by header or position."""
    own = list(text.frame.columns)
    names = [*BEDPE_COLUMNS[:6]]
    for i in range(6, len(own)):
        if header:
            name = own[i]
        elif i < len(BEDPE_COLUMNS):
            name = BEDPE_COLUMNS[i]
        elif i - len(BEDPE_COLUMNS) < len(EXTRA_COLUMNS):
            name = EXTRA_COLUMNS[i - len(BEDPE_COLUMNS)]
        else:
            name = f"column_{i + 1}"
        names.append(name)
    taken = set(names[:6])
    names[6:] = [f"{name}_given" if name in taken else name for name in names[6:]]
    return replace(text, frame=text.frame.set_axis(names, axis="columns"))
