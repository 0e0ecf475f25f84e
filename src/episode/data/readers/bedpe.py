"""Reader of BEDPE: the first anchor is the enhancer, the second the promoter.

Does not judge values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from episode.data.readers.columns import INTERVALS, meaning
from episode.data.readers.content import fail
from episode.data.readers.text import RawTable, TextTable, filled
from episode.data.readers.tidy import rename

__all__ = ["read_bedpe"]

_STANDARD = (*INTERVALS, "name", "score", "strand1", "strand2")
_GUESSED = {"label": "column_11", "cell_line": "column_12", "assay": "column_13"}
"""What columns 11 to 13 are taken for in a file without header."""


def read_bedpe(
    text: TextTable, *, header: bool, columns: Mapping[str, str], cell_line: str | None, assay: str | None
) -> RawTable:
    """Name the columns of a BEDPE table (see `docs/formats.md`).

    Raises
    ------
    InputError
        If it has fewer than six columns, or nothing names its cell line.
    """
    own = list(text.frame.columns)
    if len(own) < 6:
        raise fail(text.file, f"has {len(own)} columns; BEDPE needs at least 6: {', '.join(INTERVALS)}")
    notes: tuple[str, ...] = ()
    asked = dict(columns)
    if header:
        asked |= {} if any(name in columns for name in INTERVALS) else _anchors(text.file, own)
    else:
        own = [*_STANDARD, *(f"column_{i + 1}" for i in range(len(_STANDARD), len(own)))][: len(own)]
        text = replace(text, frame=text.frame.set_axis(own, axis="columns"))
        taken = columns.values()
        guessed = {name: at for name, at in _GUESSED.items() if name not in columns and at in own and at not in taken}
        guessed = {} if cell_line is not None else guessed
        asked |= guessed
        notes = _notes(guessed, own)
    raw = rename(text, asked)
    frame = raw.text.frame
    frame = frame.replace({column: {".": ""} for column in _GUESSED if column in frame})
    frame = filled(frame, cell_line=cell_line, assay=assay)
    if "cell_line" not in frame:
        need = "has no cell line: neither a column cell_line (column 12 without a header) nor --cell-line NAME"
        raise fail(text.file, need)
    return replace(raw, text=replace(raw.text, frame=frame), notes=notes)


def _anchors(file: str, names: list[str]) -> dict[str, str]:
    """Return which column holds which part of the two intervals: by its name where all six are named, else by place."""
    meant = [meaning(name) for name in names]
    known = [name for name in INTERVALS if name in meant]
    if len(known) == len(INTERVALS):
        return {}
    first, second = " ".join(names[:3]).casefold(), " ".join(names[3:6]).casefold()
    turned = any(word in first for word in ("prom", "tss", "gene")) or "enh" in second
    if known or turned:
        need = "has a header whose names do not say the enhancer first, the promoter second; give --column NAME=OTHER"
        raise fail(file, f"{need} for {', '.join(INTERVALS)}")
    return dict(zip(INTERVALS, names[:6], strict=True))


def _notes(guessed: Mapping[str, str], own: list[str]) -> tuple[str, ...]:
    """Say what was guessed, or left alone, of the columns of a file without header."""
    if len(own) <= len(_STANDARD):
        return ()
    if guessed:
        named = ", ".join(f"{at} is read as {name}" for name, at in guessed.items())
        return (f"has no header: {named}",)
    last = f" to {own[-1]}" if len(own) > len(_STANDARD) + 1 else ""
    return (f"has no header: column_11{last} are read as no label or cell line (--column label=column_11 would)",)
