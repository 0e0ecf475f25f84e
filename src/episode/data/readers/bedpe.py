"""Reader of BEDPE: the first anchor is the enhancer, the second the promoter.

Does not judge values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from episode.data.readers.columns import INTERVALS, meaning
from episode.data.readers.content import fail
from episode.data.readers.detect import names_anchors
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
    asked = dict(columns)
    notes: tuple[str, ...] = ()
    if header:
        anchors = {} if any(name in columns for name in INTERVALS) else _anchors(text.file, own)
        asked |= anchors
        notes = () if names_anchors(own) or not anchors else (_placed(own),)
    else:
        own = [*_STANDARD, *(f"column_{i + 1}" for i in range(len(_STANDARD), len(own)))][: len(own)]
        text = replace(text, frame=text.frame.set_axis(own, axis="columns"))
        free = [name for name in own[len(_STANDARD) :] if name not in columns.values()]
        guessed = {name: at for name, at in _GUESSED.items() if name not in columns and at in free}
        asked |= guessed if cell_line is None else {}
        notes = _notes(guessed, free if cell_line is not None else [])
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


def _placed(names: list[str]) -> str:
    first, second = ", ".join(names[:3]), ", ".join(names[3:6])
    return f"{first} are read as the enhancer, {second} as the promoter, by their places"


def _notes(guessed: Mapping[str, str], left: list[str]) -> tuple[str, ...]:
    """Say what was guessed, or left alone, of the columns of a file without header."""
    if left:
        kept = f"{', '.join(left)} carried through, not read as label or cell line"
        return (f"has no header: {kept} (--column label=column_11 would)",)
    named = ", ".join(f"{at} is read as {name}" for name, at in guessed.items())
    return (f"has no header: {named}",) if named else ()
