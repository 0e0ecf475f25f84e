"""What a table is: its format, its separator, and the line that names its columns.

Looks at names and first rows; does not read the rows.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from episode.data.pairs import SIDES
from episode.data.readers.columns import meaning
from episode.data.readers.content import Content, fail, read_content
from episode.data.readers.foreign import foreign_header, foreign_rows, is_number
from episode.errors import InputError

__all__ = [
    "DELIMITERS",
    "FORMATS",
    "Layout",
    "detect_format",
    "find_layout",
    "format_of_name",
    "is_anchors",
    "names_anchors",
    "row_width",
]

FORMATS = ("tidy", "domain-kl", "bengi", "bedpe")
DELIMITERS = {"\t": "tab", ",": "comma"}
_OTHER_DELIMITERS = {";": "semicolons", "|": "bars", " ": "spaces"}

_PAIRS_FILE = re.compile(r"pairs_hg(19|38)\.csv(\.gz)?")
_CHROM1, _CHROM2 = (
    re.compile(rf"chr(om(osome)?)?_?({names})|bin{number}_chr(om(osome)?)?", re.IGNORECASE)
    for number, names in ((1, "1|a"), (2, "2|b"))
)
"""Names of columns 1 and 4 of BEDPE, as loop callers write them."""
_SETTINGS = re.compile(r'(track|browser)( |$)|"?sep=."?$')
"""Lines above a table that set up a genome browser or a spreadsheet."""
_SAMPLE = 50
"""Lines looked at."""


@dataclass(frozen=True)
class Layout:
    """How the lines of a table are to be read.

    Parameters
    ----------
    format : str
        One of `FORMATS`.
    delimiter : str
        Tab or comma.
    header : int or None
        Index of the line that names the columns.
    first : int
        Index of the line from which on lines are rows.
    """

    format: str
    delimiter: str
    header: int | None
    first: int

    @property
    def quotes(self) -> bool:
        """Whether values may be in quotes; in BEDPE and BENGI a quote is a character like others."""
        return self.format in ("tidy", "domain-kl")

    def split(self, line: str) -> list[str]:
        """Split a line into values.

        Raises
        ------
        ValueError
            If a quote does not close on the line.
        """
        if not self.quotes or '"' not in line:
            return line.split(self.delimiter)
        csv.field_size_limit(max(csv.field_size_limit(), len(line)))
        try:
            return next(csv.reader([line], delimiter=self.delimiter, skipinitialspace=True, strict=True))
        except csv.Error as error:
            what = "it opens a quote that does not close on the line" if "end of data" in str(error) else str(error)
            raise ValueError(f"cannot be split into values: {what}") from None

    def names(self, line: str) -> list[str]:
        """Split a header line into names; see `split`."""
        return [name.strip() for name in self.split(line.removeprefix("#"))]


def format_of_name(path: Path) -> str | None:
    """Return "domain-kl" for a folder or a pairs file, "tidy" for Parquet, None where the content decides."""
    if os.path.isdir(path) or _PAIRS_FILE.fullmatch(path.name):
        return "domain-kl"
    return "tidy" if path.name.endswith((".parquet", ".pq")) else None


def detect_format(path: Path) -> str:
    """Return the format of a path, one of `FORMATS`; see `format_of_name` and `find_layout`.

    Raises
    ------
    InputError
        If the file cannot be read, or is no table of pairs.
    """
    return format_of_name(path) or find_layout(read_content(path)).format


def names_anchors(names: Sequence[str]) -> bool:
    """Whether names of columns are those of BEDPE, as loop callers write them."""
    return len(names) >= 6 and None not in (_CHROM1.fullmatch(names[0]), _CHROM2.fullmatch(names[3]))


def is_anchors(cells: Sequence[str]) -> bool:
    """Whether values may be a row of BEDPE: numbers in places 2, 3, 5 and 6."""
    return len(cells) >= 6 and all(is_number(cells[i]) for i in (1, 2, 4, 5))


def _is_bengi(cells: Sequence[str]) -> bool:
    return len(cells) == 10 and all(is_number(cells[i]) or (i < 2 and not cells[i].strip()) for i in (0, 1, 3, 4, 7, 8))


def _most(rows: Sequence[Sequence[str]], test: Callable[[Sequence[str]], bool]) -> bool:
    return 2 * sum(map(test, rows)) > len(rows)


def _are_names(cells: Sequence[str]) -> bool:
    """Whether values may be names of columns: each another one, and none a number or a dot."""
    return len(set(cells)) == len(cells) > 1 and not any(is_number(cell) or cell in ("", ".") for cell in cells)


def row_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of values that most rows have; of two as frequent, the larger."""
    return max(Counter(map(len, rows)).items(), key=lambda item: (item[1], item[0]), default=(0, 0))[0]


@dataclass(frozen=True)
class _Top:
    """The top of a table: lines with ``#`` above the first other one, that line, and some after it.

    Parameters
    ----------
    comments, first : list of int, int
        Indexes of those lines.
    sample : list of str
        That line and some after it.
    scores : dict of int to int
        How many columns of elements, or columns asked for, each of those lines names.
    """

    content: Content
    delimiter: str
    comments: list[int]
    first: int
    sample: list[str]
    scores: dict[int, int]

    @cached_property
    def rows(self) -> list[list[str]]:
        """The values of the sample, as if separated by tabs; without a first line that holds names."""
        rows = [line.split("\t") for line in self.sample]
        return rows[1:] if _are_names(rows[0]) else rows

    def tabbed(self, index: int) -> list[str]:
        """Split a line that may be a header of BEDPE."""
        return [name.strip() for name in self.content.lines[index].removeprefix("#").split("\t")]

    @property
    def names(self) -> set[str]:
        """All that may be a name of a column."""
        return {name for index in (*self.comments, self.first) for name in self.tabbed(index)}

    def fail(self, need: str, index: int) -> InputError:
        """Make the error for a line."""
        return fail(self.content.file, need, row=index + 1)


def find_layout(content: Content, *, format: str | None = None, asked: Collection[str] = ()) -> Layout:
    """Find out how a text table is to be read.

    Its format is `format`, or: ``*.bedpe[.gz]`` is BEDPE, and so is a table whose header names two chromosomes as loop
    callers do (``chrom1``, ``chrom2``); names of tidy tables make it tidy. Without such a header, rows of ten values
    with numbers in places 4, 5, 8 and 9, and numbers or nothing in 1 and 2, are BENGI; rows with numbers in 2, 3, 5
    and 6 are BEDPE; everything else is tidy. Most of the first rows decide.

    The header is the first line, or the last line with ``#`` above it that has as many names as the rows have values.

    Parameters
    ----------
    content : Content
    format : str, optional
        One of `FORMATS`, if known.
    asked : collection of str
        Names of columns, besides those of tidy tables, that tell a header.

    Raises
    ------
    InputError
        If the file is something else than a table of pairs, or its header does not fit its rows.
    """
    top = _top(content, {name.casefold() for name in asked})
    kind = format or _format(top)
    if kind in ("bedpe", "bengi"):
        fits = _most(top.rows, is_anchors if kind == "bedpe" else _is_bengi)
    else:
        fits = max(top.scores.values()) > 0
    what = None
    if not fits and _most(top.rows, is_anchors):
        what = "looks like BEDPE; give --format bedpe, or no --format"
    elif not fits:
        what = foreign_header(top.names) or foreign_rows(top.rows)
    if what is not None:
        raise fail(content.file, what)
    _check_delimiter(top, kind)
    if kind == "bengi":
        return Layout(kind, "\t", None, top.first)
    return _bedpe(top) if kind == "bedpe" else _tidy(top, kind)


def _top(content: Content, asked: set[str]) -> _Top:
    """Look at the first lines."""
    comments: list[int] = []
    first = None
    for index, line in enumerate(content.lines):
        if line.startswith("#"):
            comments.append(index)
        elif line.strip() and not _SETTINGS.match(line):
            first = index
            break
    if first is None:
        what = "has a header but no rows" if comments else "is empty"
        raise fail(content.file, f"{what}; needs at least one pair")
    sample = [line for line in content.lines[first : first + _SAMPLE] if line.strip() and not line.startswith("#")]
    delimiter = next((mark for mark in DELIMITERS if mark in sample[0]), "")
    layout = Layout("tidy", delimiter or "\t", None, first)
    scores = {}
    for index in [*comments, first]:
        try:
            names = layout.names(content.lines[index])
        except ValueError:
            names = []
        sides = [name for name in names if (meaning(name) or "").startswith(SIDES) or name.casefold() in asked]
        scores[index] = len(sides)
    return _Top(content, delimiter, comments, first, sample, scores)


def _format(top: _Top) -> str:
    """Decide on the format of a table; see `find_layout`."""
    if Path(top.content.file).name.endswith((".bedpe", ".bedpe.gz")):
        return "bedpe"
    heads = [top.tabbed(index) for index in (*top.comments, top.first)]
    if any(map(names_anchors, heads)):
        return "bedpe"
    if any(top.scores.values()):
        return "tidy"
    bengi, anchors = _most(top.rows, _is_bengi), _most(top.rows, is_anchors)
    named = any(_are_names(names) and len(names) == row_width(top.rows) for names in heads)
    if named and (bengi or anchors):
        need = foreign_header(top.names)
        if need is not None:
            raise fail(top.content.file, need)
        places = "columns 1 to 3 as the enhancer, 4 to 6 as the promoter"
        other = "--format bengi to read the columns by place" if bengi else f"--format bedpe to read {places}"
        need = "names its columns in a way that is not known; give --column NAME=OTHER for each column that is needed"
        raise fail(top.content.file, f"{need} (see docs/formats.md), or {other}")
    return "bengi" if bengi else "bedpe" if anchors else "tidy"


def _check_delimiter(top: _Top, kind: str) -> None:
    """Refuse a separator that the format does not have."""
    allowed = list(DELIMITERS) if kind not in ("bedpe", "bengi") else ["\t"]
    line = top.content.lines[top.first].strip()
    other = next((name for mark, name in _OTHER_DELIMITERS.items() if mark in line), None)
    if other is not None and top.delimiter not in allowed:
        need = f"separates columns by {other}; needs a {' or a '.join(DELIMITERS[mark] for mark in allowed)} between"
        raise top.fail(need, top.first)


def _bedpe(top: _Top) -> Layout:
    """Find the header of BEDPE."""
    first = top.tabbed(top.first)
    if len(first) >= 6 and _are_names(first):
        return Layout("bedpe", "\t", top.first, top.first + 1)
    width = row_width(top.rows)
    heads = [index for index in top.comments if len(top.tabbed(index)) >= 6 and not _is_row(top.tabbed(index))]
    fitting = [index for index in heads if len(top.tabbed(index)) == width]
    if heads and not fitting:
        need = f"names {len(top.tabbed(heads[-1]))} columns where most rows have {width} values; needs as many"
        raise top.fail(need, heads[-1])
    return Layout("bedpe", "\t", fitting[-1] if fitting else None, top.first)


def _is_row(cells: Sequence[str]) -> bool:
    """Whether a line with ``#`` is a row of BEDPE that was commented out: a number where a position would be."""
    return any(is_number(cells[i]) for i in (1, 2, 4, 5))


def _tidy(top: _Top, kind: str) -> Layout:
    """Find the header of a tidy table: the line that names most columns, of the comments the last."""
    layout = Layout(kind, top.delimiter or "\t", top.first, top.first + 1)
    best = max(top.comments, key=lambda index: (top.scores[index], index), default=top.first)
    if top.scores[best] > top.scores[top.first]:
        names = len(layout.split(top.content.lines[best]))
        width = row_width([line.split(layout.delimiter) for line in top.sample if '"' not in line]) or names
        if names != width:
            raise top.fail(f"names {names} columns where most rows have {width} values; needs as many", best)
        return Layout(kind, layout.delimiter, best, top.first)
    if not top.scores[top.first] and sum(map(is_number, top.sample[0].split(layout.delimiter))) > 1:
        raise top.fail("holds values where the names of the columns should be; needs a header line", top.first)
    return layout
