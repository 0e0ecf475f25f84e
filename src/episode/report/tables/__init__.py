"""The tables of a report as plain data, and the kinds of cells that they are made of.

A cell holds what is shown and what its column is sorted by. Nothing in here knows HTML: `episode.report.rendering`
writes tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from episode.metrics.intervals import Estimate
from episode.report.findings import NONE, decimal, signed, within

__all__ = ["Cell", "Note", "Row", "Table", "count", "difference_cell", "figure", "interval", "share", "text"]


@dataclass(frozen=True)
class Note:
    """A remark below a table.

    Parameters
    ----------
    number : int
        Shown as a raised number where the remark applies; 1 is the first.
    methods : tuple of str
        The methods that it applies to.
    """

    number: int
    text: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    text : str
        Plain text.
    order : float, int, str or None
        What the column is sorted by; None for a number that is not defined.
    detail : str
        Shown below, smaller.
    strong : bool
        Set in bold.
    note : Note or None
        A remark to link to.
    starts : bool
        In the first cell of a row: a group of rows starts here.
    """

    text: str
    order: float | int | str | None
    detail: str = ""
    strong: bool = False
    note: Note | None = None
    starts: bool = False


Row = tuple[Cell, ...]
"""Cells in column order; the first is the heading of the row."""


@dataclass(frozen=True)
class Table:
    """A captioned table.

    Parameters
    ----------
    caption : str
        Plain text; its first sentence names the table.
    heads : tuple of str
        Column headings.
    rows, totals : tuple of Row
        `totals` are set off at the foot and are never sorted.
    text_columns : tuple of int
        0-based columns that hold words: aligned left, sorted as words.
    name : str
        Anchor on the page.
    warning : str
        Shown in red before the caption.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    totals: tuple[Row, ...] = ()
    text_columns: tuple[int, ...] = (0,)
    name: str = ""
    warning: str = ""
    kind: ClassVar[Literal["table"]] = "table"

    @property
    def title(self) -> str:
        """First sentence of the caption."""
        return self.caption.split(".")[0]

    def column_kind(self, index: int) -> str:
        """Return "word" or "number", by the 0-based index of a column."""
        return "word" if index in self.text_columns else "number"

    def trimmed(self) -> Table:
        """Return the table without columns in which no number is defined."""
        lines = (*self.rows, *self.totals)
        kept = [at for at in range(len(self.heads)) if any(line[at].order is not None for line in lines)]
        return replace(
            self,
            heads=tuple(self.heads[at] for at in kept),
            rows=tuple(tuple(row[at] for at in kept) for row in self.rows),
            totals=tuple(tuple(row[at] for at in kept) for row in self.totals),
            text_columns=tuple(place for place, at in enumerate(kept) if at in self.text_columns),
        )


def text(
    words: str, *, detail: str = "", note: Note | None = None, starts: bool = False, order: float | str | None = None
) -> Cell:
    """Make a cell of words, sorted by them unless `order` is given."""
    return Cell(words, words if order is None else order, detail, note=note, starts=starts)


def figure(value: float | None, places: int = 3) -> Cell:
    """Make a cell of a bare number."""
    return Cell(decimal(value, places), value)


def count(value: int | None) -> Cell:
    """Make a cell of a whole number."""
    return Cell(NONE if value is None else f"{value:,}", value)


def share(value: float | None) -> Cell:
    """Make a cell of a fraction, in per cent."""
    return Cell(NONE if value is None else f"{100 * value:.1f} %", value)


def interval(number: Estimate, places: int = 3) -> Cell:
    """Make a cell of a number with its interval below."""
    return Cell(decimal(number.value, places), number.value, within(number, places=places) if number.bounded else "")


def difference_cell(number: Estimate, *, clear: bool, places: int = 3) -> Cell:
    """Make a cell of a difference with its interval below, in bold where `clear`."""
    detail = within(number, places=places, sign=True) if number.bounded else ""
    return Cell(signed(number.value, places), number.value, detail, strong=clear)
