"""Reader of BENGI tables as TransEPI distributes them: ten columns, no header, environment in the file name.

Does not judge values.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from episode.data.pairs import SPLITS
from episode.data.readers.content import fail
from episode.data.readers.text import RawTable, TextTable

__all__ = ["BENGI_COLUMNS", "environment_of_file", "read_bengi"]

BENGI_COLUMNS = (
    "label",
    "distance",
    "enhancer_chrom",
    "enhancer_start",
    "enhancer_end",
    "enhancer_annotation",
    "promoter_chrom",
    "promoter_start",
    "promoter_end",
    "promoter_annotation",
)
"""Columns in file order; the two annotations (the file's names) are carried through."""

_NAME = re.compile(r"(?P<cell_line>[^.]+)\.(?P<assay>[^.]+?)(-Benchmark)?(\.v[0-9]+)?\.(tsv|txt|bed)(\.gz)?")
_NO_ASSAY = re.compile(rf"(v[0-9]+|{'|'.join(SPLITS)}|valid|validation|dev|hg19|hg38)(-Benchmark)?", re.IGNORECASE)
"""Parts of file names that say a version, a split or a genome."""


def environment_of_file(name: str) -> tuple[str, str] | None:
    """Parse cell line and assay from a file name.

    ``GM12878.CTCF-ChIAPET-Benchmark.v3.tsv.gz`` is ``("GM12878", "CTCF-ChIAPET")``; None where the name is
    not of the form ``CELL.ASSAY[-Benchmark][.vN].tsv[.gz]``, or ASSAY is a version, a split or a genome.
    """
    found = _NAME.fullmatch(name)
    if found is None or _NO_ASSAY.fullmatch(found["assay"]):
        return None
    return found["cell_line"], found["assay"]


def read_bengi(text: TextTable, *, cell_line: str | None, assay: str | None) -> RawTable:
    """Name the columns of a BENGI table; nothing is taken from the file name where `cell_line` is given.

    Raises
    ------
    InputError
        If it is not ten columns wide, or nothing names its cell line.
    """
    width = text.frame.shape[1]
    if width != len(BENGI_COLUMNS):
        need = f"has {width} columns; a BENGI table needs {len(BENGI_COLUMNS)}: {', '.join(BENGI_COLUMNS)}"
        raise fail(text.file, need)
    notes: tuple[str, ...] = ()
    if cell_line is None:
        found = environment_of_file(Path(text.file).name)
        if found is None:
            need = "does not say its cell line; name it CELL.ASSAY.tsv[.gz] or give --cell-line NAME"
            raise fail(text.file, need)
        cell_line, own_assay = found
        said = f"cell line {cell_line}" if assay is not None else f"cell line {cell_line} and assay {own_assay}"
        notes = (f"{said}: taken from the file name",)
        assay = own_assay if assay is None else assay
    frame = text.frame.set_axis(list(BENGI_COLUMNS), axis="columns").assign(cell_line=cell_line, assay=assay or "")
    return RawTable(replace(text, frame=frame), notes=notes)
