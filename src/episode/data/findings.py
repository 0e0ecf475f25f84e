"""What is wrong with rows, rule by rule: for a message its groups, for `dropped.tsv` every row.

A finding is a rule and the rows that break it, as arrays: half a million broken rows cost what a few do, until every
one is to be listed. Does not know the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.pairs import DROPPED_COLUMNS, empty_dropped
from episode.errors import OTHERS, Problem
from episode.text import shorten

__all__ = ["Findings", "Need", "dropped_rows"]

Integers = npt.NDArray[np.integer]
Need = str | Callable[[int], str]
"""What was needed: one text, or the text of a row, by its position."""


@dataclass(frozen=True)
class _Finding:
    rows: Integers
    column: str | None
    need: Need
    texts: pd.Series | None

    def need_of(self, position: int) -> str:
        return self.need if isinstance(self.need, str) else self.need(position)

    def value_of(self, position: int) -> str | None:
        return None if self.texts is None else shorten(str(self.texts.iloc[position]))


@dataclass
class Findings:
    """Rows of tables that break rules.

    Parameters
    ----------
    files : sequence of str
        Paths of the tables.
    row : int array, shape (n,)
        Of each row, its line in its file.
    source : int array, shape (n,), optional
        Of each row, its file; all the first one by default.
    """

    files: Sequence[str]
    row: Integers
    source: Integers | None = None
    found: list[_Finding] = field(default_factory=list)

    def add(self, bad: npt.NDArray[np.bool_], column: str | None, need: Need, values: pd.Series | None = None) -> None:
        """Note the rows where `bad`; `values` is what stands in their column."""
        rows = np.flatnonzero(bad)
        if len(rows):
            self.found.append(_Finding(rows, column, need, values))

    @property
    def total(self) -> int:
        """Number of problems: a row may have several."""
        return sum(len(finding.rows) for finding in self.found)

    def broken(self) -> npt.NDArray[np.bool_]:
        """Tell which rows have a problem, shape (n,)."""
        broken = np.zeros(len(self.row), dtype=bool)
        for finding in self.found:
            broken[finding.rows] = True
        return broken

    def problems(self) -> list[Problem]:
        """Return one problem for each file and rule, by file and first row."""
        grouped = [
            (*self._place(int(rows[0])), self._group(finding, rows))
            for finding in self.found
            for rows in self._by_file(finding.rows)
        ]
        return [problem for _, _, problem in sorted(grouped, key=lambda entry: entry[:2])]

    def dropped(self, before: str = "") -> pd.DataFrame:
        """Return one line for each row, see `episode.data.pairs.DROPPED_COLUMNS`; `before` begins every reason."""
        if not self.found:
            return empty_dropped()
        tables = []
        for finding in self.found:
            at = finding.rows
            values = [""] * len(at) if finding.texts is None else map(shorten, finding.texts.iloc[at].astype("str"))
            reasons = [before + finding.need_of(int(position)) for position in at]
            source = np.zeros(len(at), dtype=np.int64) if self.source is None else self.source[at]
            tables.append(
                pd.DataFrame(
                    {
                        "source": source,
                        "row": self.row[at].astype(np.int64),
                        "column": finding.column or "",
                        "value": list(values),
                        "reason": reasons,
                    }
                )
            )
        table = pd.concat(tables, ignore_index=True).sort_values(["source", "row"], kind="stable", ignore_index=True)
        table.insert(0, "file", np.array(self.files, dtype=object)[table.pop("source").to_numpy()])
        return _one_line_a_row(table)

    def _place(self, position: int) -> tuple[int, int]:
        return 0 if self.source is None else int(self.source[position]), int(self.row[position])

    def _by_file(self, rows: Integers) -> Iterable[Integers]:
        if self.source is None:
            return [rows]
        source = self.source[rows]
        order = np.argsort(source, kind="stable")
        return np.split(rows[order], np.flatnonzero(np.diff(source[order])) + 1)

    def _group(self, finding: _Finding, rows: Integers) -> Problem:
        source, row = self._place(int(rows[0]))
        others = tuple((int(self.row[at]), finding.value_of(int(at))) for at in rows[1 : OTHERS + 1])
        first = int(rows[0])
        return Problem(
            self.files[source],
            finding.need_of(first),
            row,
            finding.column,
            finding.value_of(first),
            more=len(rows) - 1,
            others=others,
        )


def dropped_rows(problems: Iterable[Problem]) -> pd.DataFrame:
    """Turn problems of single rows into a table, one line a row; several of a row are joined by a semicolon."""
    rows = [(p.file, p.row or 0, p.column or "", p.value or "", p.need) for p in problems]
    return _one_line_a_row(pd.DataFrame(rows, columns=list(DROPPED_COLUMNS))) if rows else empty_dropped()


def _one_line_a_row(table: pd.DataFrame) -> pd.DataFrame:
    place = ["file", "row"]
    several = table.duplicated(place, keep=False)
    if not several.any():
        return table
    joined = table[several].groupby(place, sort=False).agg("; ".join)
    first = table.drop_duplicates(place).set_index(place)
    first.update(joined)
    return first.reset_index()[list(table.columns)]
