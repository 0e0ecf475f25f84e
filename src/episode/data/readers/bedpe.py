"""Reader of BEDPE: the first anchor is the enhancer, the second the promoter.

Does not judge values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from episode.data.readers.text import RawTable, TextTable, fail, filled, first_line, is_number, read_text
from episode.data.readers.tidy import rename

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
    frame = frame.replace({column: {".": ""} for column in EXTRA_COLUMNS if column in frame})
    frame = filled(frame, cell_line=cell_line, assay=assay)
    if "cell_line" not in frame:
        need = "has no cell line: neither a column cell_line (column 12 without a header) nor --cell-line NAME"
        raise fail(path, need)
    return [replace(raw, text=replace(raw.text, frame=frame))]


def _standard_names(text: TextTable, header: bool) -> TextTable:
    """Name the first ten columns by position, the others by header or position."""
    own = list(text.frame.columns)
    standard = [*BEDPE_COLUMNS, *EXTRA_COLUMNS]
    unnamed = [*standard, *(f"column_{i + 1}" for i in range(len(standard), len(own)))]
    first, rest = standard[:6], (own if header else unnamed)[6 : len(own)]
    names = [*first, *(f"{name}_given" if name in first else name for name in rest)]
    return replace(text, frame=text.frame.set_axis(names, axis="columns"))
