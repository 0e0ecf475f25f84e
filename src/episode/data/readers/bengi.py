"""Reader of BENGI tables as TransEPI distributes them: ten columns, no header, environment in the file name.

Does not judge values.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from episode.data.readers.text import RawTable, fail, read_text

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


def environment_of_file(name: str) -> tuple[str, str] | None:
    """Parse cell line and assay from a file name.

    ``GM12878.CTCF-ChIAPET-Benchmark.v3.tsv.gz`` is ``("GM12878", "CTCF-ChIAPET")``; None where the name is
    not of the form ``CELL.ASSAY[-Benchmark][.vN].tsv[.gz]``.
    """
    found = _NAME.fullmatch(name)
    return None if found is None else (found["cell_line"], found["assay"])


def read_bengi(path: Path, *, cell_line: str | None, assay: str | None) -> list[RawTable]:
    """Read one BENGI table; `cell_line` and `assay` take precedence over the file name.

    Raises
    ------
    InputError
        If the file cannot be read, is not ten columns wide, or nothing names its cell line.
    """
    text = read_text(path, header=False, delimiter="\t")
    width = text.frame.shape[1]
    if width != len(BENGI_COLUMNS):
        raise fail(path, f"has {width} columns; a BENGI table needs {len(BENGI_COLUMNS)}: {', '.join(BENGI_COLUMNS)}")
    from_name = environment_of_file(path.name)
    if from_name is None and cell_line is None:
        raise fail(path, "does not say its cell line; name it CELL.ASSAY.tsv[.gz] or give --cell-line NAME")
    own_cell, own_assay = from_name or ("", "")
    frame = text.frame.set_axis(list(BENGI_COLUMNS), axis="columns").assign(
        cell_line=own_cell if cell_line is None else cell_line, assay=own_assay if assay is None else assay
    )
    return [RawTable(replace(text, frame=frame))]
