"""The pair table: one row for each enhancer-promoter pair, in one frozen form whatever file it came from.

Holds the columns, the names of elements and environments, and nothing else. Does not read files, does not know
genomes, and does not look for mistakes: the readers and `episode.data.validation` do that before a table is
made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.errors import Problem
from episode.schema import Model

__all__ = [
    "CANONICAL_DTYPES",
    "DROPPED_COLUMNS",
    "SIDES",
    "SPLITS",
    "PairTable",
    "Source",
    "empty_dropped",
    "environment_names",
    "group_names",
    "interval_names",
    "parse_intervals",
]

SIDES = ("enhancer", "promoter")
SPLITS = ("train", "val", "test")

CANONICAL_DTYPES: dict[str, str] = {
    "cell_line": "str",
    "assay": "str",
    "label": "int8",
    "enhancer_name": "str",
    "promoter_name": "str",
    "enhancer_chrom": "str",
    "promoter_chrom": "str",
    "enhancer_start": "int64",
    "enhancer_end": "int64",
    "promoter_start": "int64",
    "promoter_end": "int64",
    "distance": "float64",
    "split": "str",
    "source": "int32",
    "row": "int64",
}
"""Columns of every pair table, in order; further columns are carried through as text."""

DROPPED_COLUMNS = ("file", "row", "column", "value", "reason")

_INTERVAL = r"(?P<chrom>[A-Za-z0-9_.]+):(?P<start>[0-9]{1,12})-(?P<end>[0-9]{1,12})(?![0-9])"


class Source(Model):
    """A file that pairs or sequences came from."""

    path: str
    """As the user gave it."""
    sha256: str
    """Of the file's bytes, 64 hex digits."""
    rows: int
    """Rows in the file, the header not counted."""


def empty_dropped() -> pd.DataFrame:
    """Return a table of dropped rows (`DROPPED_COLUMNS`) without rows."""
    return pd.DataFrame({name: pd.Series(dtype="int64" if name == "row" else "str") for name in DROPPED_COLUMNS})


@dataclass(frozen=True)
class PairTable:
    """Validated pairs of one or more files.

    Parameters
    ----------
    frame : DataFrame, n_pairs rows
        Columns of `CANONICAL_DTYPES`, then the carried-through ones (str). Intervals are 0-based
        half-open, -1 and "" where unknown; `label` is 1, 0 or -1 (unknown); `distance` in bp, NaN where
        unknown; `source` is an index into `sources`; `row` is the 1-based line in that file.
    sources : tuple of Source
        Files read.
    sequences : dict of str to dict of str to str
        Of each side, DNA by element name, of the sources in `given`.
    assembly : str
        "hg19" or "hg38" where the format names it, else "".
    dropped : DataFrame
        Rows left out, one line each (`DROPPED_COLUMNS`).
    merged : int
        Rows left out because an earlier row is the same (environment, split, enhancer, promoter and label).
    given : dict of str to frozenset of int
        Of each side, the sources that bring a sequence for every element; those of the others are to be read from a
        genome, whatever their names.
    problems : tuple of Problem
        Why rows are in `dropped`, by file and rule.
    """

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    sequences: dict[str, dict[str, str]]
    assembly: str = ""
    dropped: pd.DataFrame = field(default_factory=empty_dropped)
    merged: int = 0
    given: Mapping[str, frozenset[int]] = field(default_factory=lambda: {side: frozenset() for side in SIDES})
    problems: tuple[Problem, ...] = ()

    def has_sequence(self, side: str) -> npt.NDArray[np.bool_]:
        """Tell of which rows the table brings the sequence of a side, shape (n_pairs,)."""
        return has_sequence(self.frame, self.given[side])


def has_sequence(frame: pd.DataFrame, given: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Tell which rows are of the sources in `given`."""
    return np.isin(frame["source"].to_numpy(), list(given))


def environment_names(frame: pd.DataFrame) -> pd.Series:
    """Return the environment of each row: its `cell_line`, or ``cell_line:assay`` where it has an `assay`."""
    joined = frame["cell_line"] + ":" + frame["assay"]
    return frame["cell_line"].where(frame["assay"] == "", joined).astype(str)


def group_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the names that each row can be asked for by: ``cell_line``, ``cell_line:assay`` and ``:assay``.

    They are the columns cell_line, environment and assay.
    """
    names = {"cell_line": frame["cell_line"], "environment": environment_names(frame), "assay": ":" + frame["assay"]}
    return pd.DataFrame(names)


def interval_names(frame: pd.DataFrame, side: str) -> pd.Series:
    """Return ``chrom:start-end`` (0-based half-open) for each row of one side, "" where unknown."""
    chrom = frame[f"{side}_chrom"]
    names = chrom + ":" + frame[f"{side}_start"].astype(str) + "-" + frame[f"{side}_end"].astype(str)
    return names.where(chrom != "", "")


def parse_intervals(names: pd.Series) -> pd.DataFrame:
    """Find an interval in each element name.

    Parameters
    ----------
    names : Series of str
        Such as ``chr1:9685722-9686400``, also with other text around it (``K562|chr1:9685722-9686400``).

    Returns
    -------
    DataFrame
        Columns chrom (str), start and end (int64, 0-based half-open as in BED); "", -1 and -1 where a name
        holds no interval or one that is empty.
    """
    found = names.astype(str).str.extract(_INTERVAL).fillna({"chrom": "", "start": "-1", "end": "-1"})
    found = found.astype({"chrom": "str", "start": "int64", "end": "int64"})
    known, start, end = found["start"] < found["end"], found["start"], found["end"]
    return found.assign(chrom=found["chrom"].where(known, ""), start=start.where(known, -1), end=end.where(known, -1))
