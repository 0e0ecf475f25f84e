"""Names of columns: those that have a meaning, and those that no table may have.

Does not know rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from episode.data.pairs import SIDES
from episode.data.readers.content import fail
from episode.limits import COLUMNS
from episode.text import text_problem

__all__ = ["ALIASES", "INTERVALS", "KNOWN_COLUMNS", "check_names", "column_list", "meaning"]

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

INTERVALS = tuple(f"{side}_{part}" for side in SIDES for part in ("chrom", "start", "end"))
"""The six columns of two intervals."""


def meaning(name: str) -> str | None:
    """Return which of `KNOWN_COLUMNS` a name stands for, whatever its case; None if none."""
    folded = name.casefold()
    return folded if folded in KNOWN_COLUMNS else ALIASES.get(folded)


def check_names(names: Sequence[str], file: str, line: int) -> None:
    """Refuse a header that cannot name columns.

    Raises
    ------
    InputError
        If there are too many names, one is empty, occurs twice or holds what no text may hold.
    """
    if len(names) > COLUMNS:
        raise fail(file, f"has {len(names):,} columns; needs at most {COLUMNS:,}", row=line)
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name)
    if twice:
        raise fail(file, f"names column {twice[0]!r} more than once; every column needs a name of its own", row=line)
    for number, name in enumerate(names, start=1):
        if not name:
            raise fail(file, f"has no name for column {number}; every column needs a name", row=line)
        if len(name.split()) > 1 and "_" in name:
            raise fail(file, f"mixes tabs or commas with spaces in its header: {name!r}", row=line)
        need = text_problem(name)
        if need is not None:
            raise fail(file, f"the name of column {number}, {name[:60]!r}, {need}", row=line)


def column_list(names: Sequence[str]) -> str:
    """Return column names for a message, at most 20 of them."""
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
