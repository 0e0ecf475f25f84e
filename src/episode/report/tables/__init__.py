"""The tables of a report as HTML: escaped, captioned, numbers aligned, ready to be sorted.

This module knows how a table is written, not what is in it. Without a script a table is complete; with one, a click on
a heading sorts by the number behind each cell, and what is not defined stays last.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from episode.report.findings import NONE, decimal, signed, within
from episode.report.load import Number

__all__ = ["Cell", "count", "difference_cell", "figure", "interval", "rich", "share", "table", "text"]


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
        Said below, smaller.
    strong : bool
        Set off in bold.
    mark : str
        HTML after the text, such as a link to a note.
    starts : bool
        In the first cell of a row: a group of rows starts here.
    """

    text: str
    order: float | int | str | None
    detail: str = ""
    strong: bool = False
    mark: str = ""
    starts: bool = False


def text(
    words: str, *, detail: str = "", mark: str = "", starts: bool = False, order: float | str | None = None
) -> Cell:
    """Make a cell of words, sorted by them unless told otherwise."""
    return Cell(words, words if order is None else order, detail, mark=mark, starts=starts)


def figure(value: float | None, places: int = 3) -> Cell:
    """Make a cell of a bare number."""
    return Cell(decimal(value, places), value)


def count(value: int | None) -> Cell:
    """Make a cell of a whole number."""
    return Cell(NONE if value is None else f"{value:,}", value)


def share(value: float | None) -> Cell:
    """Make a cell of a share in per cent."""
    return Cell(NONE if value is None else f"{100 * value:.1f} %", value)


def interval(number: Number, places: int = 3) -> Cell:
    """Make a cell of a number with its interval below."""
    return Cell(decimal(number.value, places), number.value, within(number, places=places) if number.bounded else "")


def difference_cell(number: Number, *, clear: bool, places: int = 3) -> Cell:
    """Make a cell of a difference with its interval below, in bold where `clear`."""
    detail = within(number, places=places, sign=True) if number.bounded else ""
    return Cell(signed(number.value, places), number.value, detail, strong=clear)


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    totals: Iterable[Sequence[Cell]] = (),
    *,
    text_columns: Sequence[int] = (0,),
    name: str = "",
    warning: str = "",
) -> str:
    """Write an HTML table.

    Parameters
    ----------
    caption : str
        Plain text; its first sentence names the table.
    heads : sequence of str
        Column headings.
    rows, totals : iterable of sequence of Cell
        Cells in column order; the first of a row is its heading. `totals` are set off at the foot and stay there.
    text_columns : sequence of int
        0-based columns that hold words: aligned left, sorted as words.
    name : str
        Anchor on the page.
    warning : str
        Said in red in the caption.
    """

    def kind(index: int) -> str:
        return "word" if index in text_columns else "number"

    def write(row: Sequence[Cell]) -> str:
        out = []
        for index, cell in enumerate(row):
            tag = 'th scope="row"' if index == 0 else "td"
            order = "" if cell.order is None else html.escape(str(cell.order))
            words = _breakable(rich(cell.text)) if index == 0 else rich(cell.text)
            words = f"<strong>{words}</strong>" if cell.strong else words
            detail = f"<small>{rich(cell.detail)}</small>" if cell.detail else ""
            out.append(f'<{tag} class="{kind(index)}" data-order="{order}">{words}{cell.mark}{detail}</{tag[:2]}>')
        starts = ' class="starts"' if row[0].starts else ""
        return f"<tr{starts}>{''.join(out)}</tr>"

    head = "".join(f'<th scope="col" class="{kind(index)}">{rich(title)}</th>' for index, title in enumerate(heads))
    foot = "\n".join(write(row) for row in totals)
    anchor = f' id="{name}"' if name else ""
    red = f'<strong class="leak">{rich(warning)}</strong> ' if warning else ""
    return (
        f'<div class="scroll"{anchor} tabindex="0" role="region" aria-label="{html.escape(caption.split(".")[0])}">'
        f'<table class="sortable"><caption>{red}{rich(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(write(row) for row in rows)}\n</tbody>"
        + (f"\n<tfoot>\n{foot}\n</tfoot>" if foot else "")
        + "</table></div>"
    )


def _breakable(words: str) -> str:
    """Let a name break after a dot, colon or underscore rather than anywhere."""
    return re.sub(r"(?<=\w)([._:])(?=\w)", r"\1<wbr>", words)


def rich(words: str) -> str:
    """Escape plain text for HTML and set the symbols of the model (U_I, R_E, R_S, R_T) with their index."""
    return re.sub(
        r"\b(U_I|R_[EST])\b", lambda found: "{}<sub>{}</sub>".format(*found[0].split("_")), html.escape(words)
    )
