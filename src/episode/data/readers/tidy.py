"""Reader of tidy tables: TSV, CSV or Parquet with a header, one pair a row.

Maps the file's column names to the library's; does not judge values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from episode.data.pairs import SIDES
from episode.data.readers.text import RawTable, TextTable, column_list, fail, filled, read_parquet, read_text
from episode.errors import EpisodeError, InputError, Problem
from episode.schema import did_you_mean

__all__ = ["KNOWN_COLUMNS", "check_columns", "name_columns", "read_tidy", "rename"]

KNOWN_COLUMNS = (
    "cell_line",
    "assay",
    "label",
    "distance",
    "split",
    *(f"{side}_{part}" for side in SIDES for part in ("name", "chrom", "start", "end", "sequence")),
)
"""Columns of a tidy table that have a meaning."""

ALIASES = {
    f"{short}_{part}": f"{side}_{part}"
    for short, side in (("enh", "enhancer"), ("prom", "promoter"))
    for part in ("name", "chrom", "start", "end", "sequence")
}


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a renaming whose left side is no known column."""
    for canonical in columns:
        if canonical not in KNOWN_COLUMNS:
            meant = did_you_mean(canonical, KNOWN_COLUMNS)
            raise EpisodeError(f"--column {canonical}={columns[canonical]}: no column {canonical!r} is known{meant}")


def rename(text: TextTable, columns: Mapping[str, str]) -> RawTable:
    """Give the columns of a table their canonical names.

    `columns` maps canonical names to the file's; they take precedence over aliases and over a column that has the
    canonical name. One column may serve several names.
    """
    present = list(text.frame.columns)
    named = dict(columns)
    for canonical, own in columns.items():
        if own not in present:
            meant = did_you_mean(own, present)
            raise fail(
                text.file, f"has no column {own!r}, asked for as {canonical}; it has {column_list(present)}{meant}"
            )
    named |= {own: own for own in present if own in KNOWN_COLUMNS and own not in named}
    for own in present:
        if own in ALIASES and ALIASES[own] not in named and own not in named.values():
            named[ALIASES[own]] = own
    pairs: list[tuple[str, str]] = []
    for own in present:
        serves = [canonical for canonical, source in named.items() if source == own]
        kept = own
        while (not serves and kept in named) or (kept != own and kept in present):
            kept += "_given"
        pairs += [(own, name) for name in serves or [kept]]
    frame = text.frame[[own for own, _ in pairs]].set_axis([name for _, name in pairs], axis="columns")
    return RawTable(replace(text, frame=frame), named)


def read_tidy(path: Path, *, columns: Mapping[str, str], cell_line: str | None, assay: str | None) -> list[RawTable]:
    """Read one tidy table (see `docs/formats.md`).

    Raises
    ------
    InputError
        If the file cannot be read or lacks a column that is needed.
    """
    parquet = path.name.endswith((".parquet", ".pq"))
    text = read_parquet(path) if parquet else read_text(path, header=True)
    if not parquet:
        names = [name.removeprefix("#").strip() for name in text.frame.columns]
        text = replace(text, frame=text.frame.set_axis(names, axis="columns"))
    return [name_columns(text, columns=columns, cell_line=cell_line, assay=assay)]


def name_columns(
    text: TextTable, *, columns: Mapping[str, str] | None = None, cell_line: str | None, assay: str | None
) -> RawTable:
    """Give a tidy table, or a block of its rows, the library's column names and the constants that it lacks.

    Raises
    ------
    InputError
        If it lacks a column that is needed.
    """
    raw = rename(text, columns or {})
    raw = replace(raw, text=replace(raw.text, frame=filled(raw.text.frame, cell_line=cell_line, assay=assay)))
    _need_columns(raw)
    return raw


def _need_columns(raw: RawTable) -> None:
    """Raise one error that names every column that is needed and absent."""
    present = list(raw.text.frame.columns)
    given = [raw.named.get(name, name) for name in present]
    problems = []

    def lacks(column: str, more: str) -> None:
        near = difflib.get_close_matches(column, [name for name in given if name not in KNOWN_COLUMNS], n=1)
        meant = f" (did you mean --column {column}={near[0]}?)" if near else ""
        problems.append(Problem(raw.text.file, f"has no column {column!r}{more}{meant}; it has {column_list(given)}"))

    if "cell_line" not in present:
        lacks("cell_line", ", and no --cell-line was given")
    for side in SIDES:
        if f"{side}_sequence" in present and f"{side}_chrom" not in present:
            continue
        for part in ("chrom", "start", "end"):
            if f"{side}_{part}" not in present:
                lacks(f"{side}_{part}", f" (nor {side}_sequence)" if f"{side}_sequence" not in present else "")
    if problems:
        raise InputError(problems)
