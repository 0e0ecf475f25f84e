"""Reader of tidy tables: TSV, CSV or Parquet with a header, one pair a row.

Maps the file's column names to the library's; does not judge values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from episode.data.pairs import SIDES
from episode.data.readers.text import RawTable, TextTable, column_list, fail, read_parquet, read_text
from episode.errors import EpisodeError, InputError, Problem

__all__ = ["KNOWN_COLUMNS", "check_columns", "fill_constant", "name_columns", "read_tidy", "rename"]

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
            near = difflib.get_close_matches(canonical, KNOWN_COLUMNS, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise EpisodeError(f"--column {canonical}={columns[canonical]}: no column {canonical!r} is known{meant}")


def rename(text: TextTable, columns: Mapping[str, str]) -> RawTable:
    """Give the columns of a table their canonical names.

    Parameters
    ----------
    text : TextTable
        With the file's own names.
    columns : mapping of str to str
        Canonical name to the file's name; goes before aliases and before a column that has the canonical
        name.
    """
    present = list(text.frame.columns)
    named: dict[str, str] = {}
    for canonical, own in columns.items():
        if own not in present:
            near = difflib.get_close_matches(own, present, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise fail(
                text.file,
                f"has no column {own!r}, asked for as {canonical}{meant}; it has {column_list(present)}",
            )
        named[canonical] = own
    for own in present:
        if own in KNOWN_COLUMNS and own not in named:
            named[own] = own
    for own in present:
        if own in ALIASES and ALIASES[own] not in named and own not in named.values():
            named[ALIASES[own]] = own
    new_name = {own: canonical for canonical, own in named.items()}
    names = [new_name.get(own, f"{own}_given" if own in named else own) for own in present]
    frame = text.frame.set_axis(names, axis="columns")
    return RawTable(replace(text, frame=frame), named)


def fill_constant(raw: RawTable, column: str, value: str | None) -> RawTable:
    """Add a column of one value where the table lacks it."""
    if value is None or column in raw.text.frame:
        return raw
    return replace(raw, text=replace(raw.text, frame=raw.text.frame.assign(**{column: value})))


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
    raw = fill_constant(fill_constant(raw, "cell_line", cell_line), "assay", assay)
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
