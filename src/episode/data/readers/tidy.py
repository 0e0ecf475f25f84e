"""Reader of tidy tables: TSV, CSV or Parquet with a header, one pair a row.

Maps the file's column names to the library's; does not judge values.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from episode.data.pairs import SIDES
from episode.data.readers.columns import KNOWN_COLUMNS, column_list, meaning
from episode.data.readers.content import fail
from episode.data.readers.foreign import foreign_header
from episode.data.readers.text import RawTable, TextTable, filled
from episode.errors import EpisodeError
from episode.schema import did_you_mean

__all__ = ["check_columns", "name_columns", "rename"]


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a renaming whose left side is no known column."""
    for canonical in columns:
        if canonical not in KNOWN_COLUMNS:
            meant = did_you_mean(canonical, KNOWN_COLUMNS)
            raise EpisodeError(f"--column {canonical}={columns[canonical]}: no column {canonical!r} is known{meant}")


def rename(text: TextTable, columns: Mapping[str, str]) -> RawTable:
    """Give the columns of a table their canonical names.

    `columns` maps canonical names to the file's; they take precedence over a column that has the canonical name, and
    that over aliases. One column may serve several names. The case of a name does not matter where only one column
    has it.

    Raises
    ------
    InputError
        If a column asked for is not there, or a name could be that of two columns.
    """
    present = list(text.frame.columns)
    named = {canonical: _find(text.file, present, other, canonical) for canonical, other in columns.items()}
    for canonical in KNOWN_COLUMNS:
        if canonical in named:
            continue
        alike = [own for own in present if meaning(own) == canonical]
        alike = [own for own in alike if own.casefold() == canonical or own not in named.values()]
        full = [own for own in alike if own.casefold() == canonical]
        if alike:
            named[canonical] = _one(text.file, full or alike, canonical)
    taken: dict[str, pd.Series] = {}
    for own in present:
        served = [canonical for canonical, other in named.items() if other == own]
        for name in served or [_carried(own, named, present)]:
            taken[name] = text.frame[own]
    return RawTable(replace(text, frame=pd.DataFrame(taken)), named)


def _find(file: str, present: Sequence[str], own: str, canonical: str) -> str:
    """Find a column that was asked for."""
    alike = [name for name in present if name == own] or [name for name in present if name.casefold() == own.casefold()]
    if not alike:
        meant = did_you_mean(own, present)
        raise fail(file, f"has no column {own!r}, asked for as {canonical}; it has {column_list(present)}{meant}")
    return _one(file, alike, canonical)


def _one(file: str, alike: Sequence[str], canonical: str) -> str:
    """Take the only column that may be meant, or the one that has the very name."""
    exact = [name for name in alike if name == name.casefold()]
    if len(alike) > 1 and len(exact) != 1:
        shown = " and ".join(map(repr, alike))
        raise fail(file, f"has columns {shown}, each of which may be {canonical}; give --column {canonical}=NAME")
    return exact[0] if exact else alike[0]


def _carried(own: str, named: Mapping[str, str], present: Sequence[str]) -> str:
    """Name a column that is carried through: it makes way for another of its name."""
    name = own
    while name in named or (name != own and name in present):
        name += "_given"
    return name


def name_columns(
    text: TextTable, *, columns: Mapping[str, str] | None = None, cell_line: str | None, assay: str | None
) -> RawTable:
    """Give a tidy table, or a block of its rows, the library's column names and the constants that it lacks.

    Raises
    ------
    InputError
        If it lacks a column that is needed; all that it lacks are named.
    """
    raw = rename(text, columns or {})
    raw = replace(raw, text=replace(raw.text, frame=filled(raw.text.frame, cell_line=cell_line, assay=assay)))
    _need_columns(raw, list(text.frame.columns))
    return raw


def _need_columns(raw: RawTable, given: Sequence[str]) -> None:
    """Refuse a table that lacks columns."""
    present = list(raw.text.frame.columns)
    lacking = [] if "cell_line" in present else ["cell_line"]
    for side in SIDES:
        if f"{side}_sequence" not in present or f"{side}_chrom" in present:
            parts = [f"{side}_{part}" for part in ("chrom", "start", "end")]
            lacking += [name for name in parts if name not in present]
    if not lacking:
        return
    others = {name.casefold(): name for name in given if meaning(name) is None}
    need, near = [], []
    for name in lacking:
        side = name.split("_")[0]
        more = ", and no --cell-line was given" if name == "cell_line" else f" (nor {side}_sequence)"
        need.append(f"{name!r}{'' if f'{side}_sequence' in present else more}")
        near += [
            f"--column {shlex.quote(f'{name}={others[own]}')}" for own in difflib.get_close_matches(name, others, n=1)
        ]
    known = foreign_header(set(given))
    if known is not None:
        raise fail(raw.text.file, known)
    hint = f" (did you mean {' '.join(near)}?)" if near else ""
    noun = "column" if len(lacking) == 1 else "columns"
    raise fail(raw.text.file, f"has no {noun} {', '.join(need)}{hint}; it has {column_list(given)}")
