"""Reading the bases of every distinct element, and finding the pairs that the genome does not cover.

One interval (or named sequence) is read once however many pairs use it; the order of elements does not
depend on the order of rows. Does not know dataset folders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.config import WindowConfig
from episode.data.genome import Genome
from episode.data.outside import (
    ALL_UNKNOWN,
    BEYOND_END,
    GIVEN_UNKNOWN,
    INSIDE,
    NO_CHROMOSOME,
    OUTSIDE,
    PARTLY_UNKNOWN,
    TOO_LONG,
    genome_hint,
    outside_rows,
)
from episode.data.pairs import SIDES, PairTable
from episode.dna import UNKNOWN, crop_offset, encode, gc_content, unknown_fraction, window_bounds
from episode.errors import EpisodeError, InputError
from episode.limits import ELEMENT_BASES

__all__ = ["Extracted", "Window", "crop_given", "extract", "read_window"]


@dataclass(frozen=True)
class Extracted:
    """Encoded elements and the rows that have both of theirs.

    Parameters
    ----------
    keep : bool array, shape (n_rows,)
        Rows of the table whose elements could be read.
    enhancer_id, promoter_id : int32 array, shape (n_kept,)
        Rows of `elements`.
    elements : DataFrame
        As in `episode.data.dataset.Dataset`.
    codes : uint8 array
    reasons : dict of str to int
        Rows left out by reason.
    dropped : DataFrame
        The rows left out.
    genome_read : bool
        Whether any element was looked up in the genome.
    """

    keep: npt.NDArray[np.bool_]
    enhancer_id: npt.NDArray[np.int32]
    promoter_id: npt.NDArray[np.int32]
    elements: pd.DataFrame
    codes: npt.NDArray[np.uint8]
    reasons: dict[str, int]
    dropped: pd.DataFrame
    genome_read: bool


@dataclass(frozen=True)
class Window:
    """One element as read.

    Parameters
    ----------
    state : int
        `INSIDE`, or why it is unusable.
    codes : uint8 array
        Its bases; empty where it is unusable.
    unknown : int
        Bases other than A, C, G and T in the element itself.
    start, end : int
        The bases read that lie on the chromosome, 0-based half-open; -1 where that is not known.
    """

    state: int
    codes: npt.NDArray[np.uint8]
    unknown: int
    start: int
    end: int


@dataclass(frozen=True)
class _Side:
    """Distinct elements of one side: their frame, each as read, the element of each row, and if a genome was read."""

    elements: pd.DataFrame
    windows: list[Window]
    of_row: npt.NDArray[np.int64]
    genome_read: bool


def extract(
    table: PairTable, genome: Genome | None, windows: WindowConfig, *, drop: bool, max_unknown: float
) -> Extracted:
    """Read every element of a table, see `episode.data.dataset.assemble`; `drop` leaves out pairs outside the genome.

    Raises
    ------
    InputError
        If pairs lie outside the genome and `drop` is False, or if no pair is left.
    EpisodeError
        If a genome is needed and None is given.
    """
    window = {"enhancer": windows.enhancer, "promoter": windows.promoter}
    sides = {side: _read_side(table, genome, side, window[side], max_unknown) for side in SIDES}
    state = {side: np.array([w.state for w in found.windows])[found.of_row] for side, found in sides.items()}
    keep = (state["enhancer"] == INSIDE) & (state["promoter"] == INSIDE)
    unknown = {side: np.array([w.unknown for w in found.windows])[found.of_row] for side, found in sides.items()}
    outside, reasons = outside_rows(table.frame, [source.path for source in table.sources], genome, state, unknown)
    if outside.total and (not drop or not keep.any()):
        chrom, end = (pd.concat([table.frame[f"{side}_{part}"] for side in SIDES]) for part in ("chrom", "end"))
        hint = genome_hint(chrom, end, genome, reasons, len(keep), table.assembly)
        raise InputError(outside.problems(), hint)
    ids, frames = {}, []
    codes: list[npt.NDArray[np.uint8]] = []
    for side, found in sides.items():
        used, place = np.unique(found.of_row[keep], return_inverse=True)
        ids[side] = (place + len(codes)).astype(np.int32)
        frames.append(found.elements.iloc[used])
        codes += [found.windows[i].codes for i in used]
    elements = pd.concat(frames, ignore_index=True)
    elements["length"] = np.array([len(c) for c in codes], dtype=np.int64)
    elements["gc"] = np.array([gc_content(c) for c in codes], dtype=np.float32)
    elements["n_fraction"] = np.array([unknown_fraction(c) for c in codes], dtype=np.float32)
    elements["offset"] = elements["length"].cumsum() - elements["length"]
    return Extracted(
        keep=keep,
        enhancer_id=ids["enhancer"],
        promoter_id=ids["promoter"],
        elements=elements,
        codes=np.concatenate(codes),
        reasons=reasons,
        dropped=outside.dropped(OUTSIDE),
        genome_read=any(found.genome_read for found in sides.values()),
    )


def _read_side(table: PairTable, genome: Genome | None, side: str, window: int, max_unknown: float) -> _Side:
    sequences = table.sequences[side]
    parts = ["name", "chrom", "start", "end"]
    rows = table.frame[[f"{side}_{part}" for part in parts]].set_axis(parts, axis="columns")
    given = pd.Series(table.has_sequence(side), index=rows.index)
    if genome is None and not given.all():
        row = table.frame[~given.to_numpy()].iloc[0]
        where = f"{table.sources[row['source']].path}:{row['row']}"
        raise EpisodeError(
            f"{where}: the sequence of {side} {row[f'{side}_name']!r} needs a genome; give --genome FASTA"
        )
    key = rows.assign(
        given=given,
        chrom=rows["chrom"].where(~given, ""),
        start=rows["start"].where(~given, -1),
        end=rows["end"].where(~given, -1),
        name=rows["name"].where(given, ""),
    )
    of_row = key.groupby(["given", *parts[1:], "name"], sort=True).ngroup().to_numpy().astype(np.int64)
    # An interval takes the smallest of the names given for it: the order of rows must not matter.
    elements = rows.assign(element=of_row).sort_values(["element", "name"], kind="stable").drop_duplicates("element")
    brought = given[elements.index].to_numpy()
    elements = elements[parts].reset_index(drop=True)
    found: list[Window] = []
    for here, (name, chrom, start, end) in zip(brought, elements.itertuples(index=False), strict=True):
        if here:
            found.append(crop_given(sequences[name], chrom, start, end, window, max_unknown))
        elif genome is not None:
            found.append(read_window(genome, chrom, start, end, window, max_unknown))
    elements.insert(0, "kind", pd.Series([side] * len(elements), dtype="str"))
    elements["start"] = np.array([w.start for w in found], dtype=np.int64)
    elements["end"] = np.array([w.end for w in found], dtype=np.int64)
    return _Side(elements, found, of_row, not bool(given.all()))


def crop_given(sequence: str, chrom: str, start: int, end: int, window: int, max_unknown: float) -> Window:
    """Take the window of a given sequence; one that is not as long as its interval is centred on it.

    The rule for unknown bases is that of the genome, see `read_window`.
    """
    left, right = crop_offset(len(sequence), window)
    whole = encode(sequence)
    codes, unknown = whole[left:right], int(np.count_nonzero(whole == UNKNOWN))
    first, last = -1, -1
    if chrom != "":
        begin = (start + end) // 2 - len(sequence) // 2
        first, last = max(begin + left, 0), begin + right
    if unknown / len(sequence) > max_unknown or (codes == UNKNOWN).all():
        return Window(GIVEN_UNKNOWN, np.zeros(0, dtype=np.uint8), unknown, first, last)
    return Window(INSIDE, codes, unknown, first, last)


def read_window(genome: Genome, chrom: str, start: int, end: int, window: int, max_unknown: float) -> Window:
    """Read one window, N where it leaves the chromosome; empty where the element is outside the genome.

    Every letter but A, C, G and T is unknown: N, the IUPAC codes, and what is no DNA at all. An element may have the
    fraction `max_unknown` of them; its window never has them only.
    """
    length = genome.lengths.get(chrom)
    low, high = window_bounds(start, end, window)
    inner_low, inner_high = max(low, 0), min(high, length or 0)

    def unusable(state: int, unknown: int = 0) -> Window:
        return Window(state, np.zeros(0, dtype=np.uint8), unknown, inner_low, inner_high)

    if length is None:
        return unusable(NO_CHROMOSOME)
    if end > length:
        return unusable(BEYOND_END)
    if end - start > ELEMENT_BASES:
        return unusable(TOO_LONG)
    first, last = max(min(low, start), 0), min(max(high, end), length)
    bases = encode(genome.fetch(chrom, first, last))
    unknown = int(np.count_nonzero(bases[start - first : end - first] == UNKNOWN))
    if unknown == end - start:
        return unusable(ALL_UNKNOWN, unknown)
    if unknown / (end - start) > max_unknown:
        return unusable(PARTLY_UNKNOWN, unknown)
    codes = np.full(high - low, UNKNOWN, dtype=np.uint8)
    codes[inner_low - low : inner_high - low] = bases[inner_low - first : inner_high - first]
    if (codes == UNKNOWN).all():
        return unusable(ALL_UNKNOWN, unknown)
    return Window(INSIDE, codes, unknown, inner_low, inner_high)
