"""The distinct elements of all staged parts: numbered, read from the genome once, their bases in one file.

    catalogue.parquet    one row an element, by side and place: what it is, its `id` if it can be used
    codes.bin            the bases of those, one after another

Memory grows with the number of distinct elements, not with that of pairs. Does not know models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from episode.config import WindowConfig
from episode.data.dataset import Dataset
from episode.data.genome import Genome
from episode.data.outside import INSIDE
from episode.data.pairs import SIDES
from episode.data.sequences import Window, crop_given, read_window
from episode.dna import digest
from episode.files import atomic_file
from episode.predict.streaming.blocks import Part, save_numbers, write_block
from episode.slices import ByteArray

__all__ = ["CATALOGUE", "Catalogue", "collect_elements", "write_elements"]


CATALOGUE = "catalogue.parquet"
"""Written last: once it is there, so is all the rest."""


@dataclass(frozen=True)
class Catalogue:
    """Every distinct element, and the bases of those that can be used.

    Parameters
    ----------
    table : DataFrame, one row an element
        `kind`; `chrom`, `start`, `end` (bases read); `given_end` (of the element in the table); `from_genome`; `state`
        and `unknown` as in `episode.data.sequences.Window`; `id` (-1 where it cannot be used), `length`, `offset` and
        `digest`.
    codes : ByteArray
    """

    table: pd.DataFrame
    codes: ByteArray

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """Open what `collect_elements` or `write_elements` wrote."""
        return cls(pd.read_parquet(folder / CATALOGUE), ByteArray(folder / "codes.bin"))

    @property
    def from_genome(self) -> bool:
        """Some element was read from a genome."""
        return bool(self.table["from_genome"].any())

    @cached_property
    def elements(self) -> pd.DataFrame:
        """The usable ones, in the order of their ids."""
        return self.table[self.table["id"] >= 0].reset_index(drop=True)


def write_elements(folder: Path, dataset: Dataset) -> None:
    """Write the elements of a dataset in memory."""
    elements = dataset.elements
    with atomic_file(folder / "codes.bin") as temporary:
        np.asarray(dataset.codes).tofile(temporary)
    table = elements[["kind", "chrom", "start", "end"]].assign(
        given_end=elements["end"],
        from_genome=dataset.genome_hash is not None,
        state=np.int8(INSIDE),
        unknown=np.int64(0),
        id=np.arange(len(elements)),
        length=elements["length"],
        offset=elements["offset"],
        digest=[value.decode() for value in dataset.digests],
    )
    write_block(table, folder / CATALOGUE)


def collect_elements(
    folder: Path, parts: Sequence[Part], genome: Genome | None, windows: WindowConfig, max_unknown: float = 0.0
) -> Iterator[int]:
    """Number the elements of all staged parts, read them, and write both files; yield elements as they are read.

    Parameters
    ----------
    genome : Genome or None
        Needed for elements without a sequence of their own.
    max_unknown : float
        Largest fraction of unknown bases in an element.
    """
    merged = {side: _merge(folder, parts, side) for side in SIDES}
    _save_numbers(folder, parts, merged)
    reading = {side: _Reading(genome, getattr(windows, side), max_unknown) for side in SIDES}
    tables, done, offset = [], 0, 0
    with atomic_file(folder / "codes.bin") as temporary, temporary.open("wb") as stream:
        for side, elements in merged.items():
            read = _Read(len(elements))
            for place, found in _windows(folder, parts, side, elements, reading[side]):
                read.note(place, found, offset)
                stream.write(found.codes.tobytes())
                offset += len(found.codes)
                done += 1
                yield done
            tables.append(read.table(side, elements))
    table = pd.concat(tables, ignore_index=True)
    usable = (table["state"] == INSIDE).to_numpy()
    table["id"] = np.where(usable, np.cumsum(usable) - 1, -1)
    write_block(table, folder / CATALOGUE)


class _Read:
    """Columns of the catalogue, filled element by element."""

    def __init__(self, count: int) -> None:
        names = ("state", "unknown", "start", "end", "length", "offset")
        self.columns = {name: np.zeros(count, dtype=np.int64) for name in names}
        self.digest = np.zeros(count, dtype="S32")

    def note(self, place: int, found: Window, offset: int) -> None:
        values = (found.state, found.unknown, found.start, found.end, len(found.codes), offset)
        for column, value in zip(self.columns.values(), values, strict=True):
            column[place] = value
        self.digest[place] = digest(found.codes).encode()

    def table(self, side: str, elements: pd.DataFrame) -> pd.DataFrame:
        frame = pd.DataFrame(self.columns | {"digest": self.digest.astype(str)})
        frame.insert(0, "kind", pd.Series([side] * len(frame), dtype="str"))
        from_genome = _key(elements) != ["name"]
        return frame.assign(chrom=elements["chrom"], given_end=elements["end"], from_genome=from_genome)


def _key(elements: pd.DataFrame) -> list[str]:
    """Columns that distinguish elements of one side: the name where sequences are given, else the interval."""
    return ["name"] if len(elements) and elements["name"].iloc[0] else ["chrom", "start", "end"]


def _part_elements(folder: Path, part: Part, side: str, columns: list[str]) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "elements" / f"{part.name}.parquet", columns=["side", *columns])
    return frame.loc[frame["side"] == side, columns].reset_index(drop=True)


def _merge(folder: Path, parts: Sequence[Part], side: str) -> pd.DataFrame:
    """Find the distinct elements of one side, sorted; of a name the first interval counts."""
    columns = ["name", "chrom", "start", "end"]
    whole, new, pending = pd.DataFrame(columns=columns), [], 0
    for number, part in enumerate(parts, start=1):
        new.append(_part_elements(folder, part, side, columns))
        pending += len(new[-1])
        if pending > len(whole) or number == len(parts):
            whole = pd.concat([whole, *new] if len(whole) else new, ignore_index=True)
            whole, new, pending = whole.drop_duplicates(_key(whole)), [], 0
    return whole.sort_values(_key(whole), ignore_index=True)


def _index(elements: pd.DataFrame, key: list[str]) -> pd.Index:
    return pd.Index(elements["name"]) if key == ["name"] else pd.MultiIndex.from_frame(elements[key])


def _save_numbers(folder: Path, parts: Sequence[Part], merged: dict[str, pd.DataFrame]) -> None:
    """Write, for each part, the place of its elements in the catalogue."""
    keys = {side: _key(elements) for side, elements in merged.items()}
    index = {side: _index(elements, keys[side]) for side, elements in merged.items()}
    for part in parts:
        found = {
            side: index[side].get_indexer(_index(_part_elements(folder, part, side, keys[side]), keys[side]))
            for side in SIDES
        }
        save_numbers(folder, part, found["enhancer"], found["promoter"] + len(merged["enhancer"]))


class _Reading(NamedTuple):
    """How the elements of one side are read."""

    genome: Genome | None
    window: int
    max_unknown: float


def _windows(
    folder: Path, parts: Sequence[Part], side: str, elements: pd.DataFrame, reading: _Reading
) -> Iterator[tuple[int, Window]]:
    """Read every element, in any order; yield its place and what was read."""
    intervals = elements[["chrom", "start", "end"]]
    if _key(elements) != ["name"]:
        if reading.genome is None:
            raise ValueError("intervals need a genome")
        for place, (chrom, start, end) in enumerate(intervals.itertuples(index=False)):
            yield place, read_window(reading.genome, chrom, start, end, reading.window, reading.max_unknown)
        return
    index, seen = _index(elements, ["name"]), np.zeros(len(elements), dtype=bool)
    for part in parts:
        mine = _part_elements(folder, part, side, ["name", "sequence"])
        for place, sequence in zip(index.get_indexer(_index(mine, ["name"])).tolist(), mine["sequence"], strict=True):
            if not seen[place]:
                seen[place] = True
                chrom, start, end = intervals.iloc[place]
                yield place, crop_given(sequence, chrom, start, end, reading.window, reading.max_unknown)
