"""Reading the bases of every distinct element, and finding the pairs that the genome does not cover.

One interval (or named sequence) is read once however many pairs use it; the order of elements does not
depend on the order of rows. Does not know dataset folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.config import WindowConfig
from episode.data.findings import Findings, Need
from episode.data.genome import Genome
from episode.data.pairs import SIDES, PairTable, interval_names
from episode.dna import UNKNOWN, crop_offset, encode, gc_content, unknown_fraction, window_bounds
from episode.errors import EpisodeError, InputError

__all__ = [
    "INSIDE",
    "OUTSIDE",
    "Extracted",
    "Window",
    "crop_given",
    "extract",
    "genome_hint",
    "mostly_outside",
    "outside_rows",
    "read_window",
]

INSIDE = 0
"""State of an element that could be read."""
_NO_CHROMOSOME, _BEYOND_END, _ALL_UNKNOWN, _PARTLY_UNKNOWN, _GIVEN_UNKNOWN = range(1, 6)
_REASONS = {
    _NO_CHROMOSOME: "chromosome not in the genome",
    _BEYOND_END: "position past the end of the chromosome",
    _ALL_UNKNOWN: "only unknown bases in the genome",
    _PARTLY_UNKNOWN: "partly unknown bases in the genome",
    _GIVEN_UNKNOWN: "unknown bases in the given sequence",
}
OUTSIDE = "outside genome: "
"""How the reason of a row that is left out for its place begins."""


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
        Letters other than A, C, G and T in the element itself.
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
        return Window(_GIVEN_UNKNOWN, np.zeros(0, dtype=np.uint8), unknown, first, last)
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
        return unusable(_NO_CHROMOSOME)
    if end > length:
        return unusable(_BEYOND_END)
    first, last = max(min(low, start), 0), min(max(high, end), length)
    bases = encode(genome.fetch(chrom, first, last))
    unknown = int(np.count_nonzero(bases[start - first : end - first] == UNKNOWN))
    if unknown == end - start:
        return unusable(_ALL_UNKNOWN, unknown)
    if unknown / (end - start) > max_unknown:
        return unusable(_PARTLY_UNKNOWN, unknown)
    codes = np.full(high - low, UNKNOWN, dtype=np.uint8)
    codes[inner_low - low : inner_high - low] = bases[inner_low - first : inner_high - first]
    if (codes == UNKNOWN).all():
        return unusable(_ALL_UNKNOWN, unknown)
    return Window(INSIDE, codes, unknown, inner_low, inner_high)


def outside_rows(
    frame: pd.DataFrame,
    files: Sequence[str],
    genome: Genome | None,
    state: Mapping[str, npt.NDArray[np.integer]],
    unknown: Mapping[str, npt.NDArray[np.integer]],
) -> tuple[Findings, dict[str, int]]:
    """Find the rows outside the genome: one problem a row, the enhancer's if both elements have one.

    Parameters
    ----------
    frame : DataFrame, n rows
        Intervals, names, `source` and `row` of a pair table.
    files : sequence of str
        Path of each source.
    genome : Genome or None
    state, unknown : mapping of side to int array, shape (n,)
        Of the element of each row, see `Window`.

    Returns
    -------
    Findings, dict of str to int
        The rows, and their number by reason.
    """
    findings = Findings(files, frame["row"].to_numpy(), frame["source"].to_numpy())
    reasons = dict.fromkeys(_REASONS.values(), 0)
    left = np.ones(len(frame), dtype=bool)
    for side in SIDES:
        for why, reason in _REASONS.items():
            bad = left & (state[side] == why)
            if bad.any():
                column, values, need = _outside_need(frame, side, why, genome, unknown[side])
                findings.add(bad, column, need, values)
                reasons[reason] += int(bad.sum())
        left &= state[side] == INSIDE
    return findings, {reason: count for reason, count in reasons.items() if count}


def _outside_need(
    frame: pd.DataFrame, side: str, why: int, genome: Genome | None, unknown: npt.NDArray[np.integer]
) -> tuple[str, pd.Series, Need]:
    """Return the column that is wrong, its values, and what was needed."""
    chrom, start, end = (frame[f"{side}_{part}"] for part in ("chrom", "start", "end"))
    file = "the genome" if genome is None else genome.path.name
    lengths = {} if genome is None else genome.lengths
    if why == _NO_CHROMOSOME:
        return f"{side}_chrom", chrom, f"is not in {file}"
    if why == _BEYOND_END:
        return f"{side}_end", end, lambda at: (
            f"is past the end of {chrom.iloc[at]}, which has {lengths[chrom.iloc[at]]} bp in {file}"
        )
    if why == _GIVEN_UNKNOWN:
        need = "letters other than A, C, G and T in its sequence; needs known bases, or a larger --max-unknown"
        return f"{side}_name", frame[f"{side}_name"], lambda at: f"has {unknown[at]} {need}"
    return side, interval_names(frame, side), lambda at: (
        f"has {unknown[at]} letters other than A, C, G and T in {end.iloc[at] - start.iloc[at]} bp of {file}; "
        "needs known bases, or a larger --max-unknown"
    )


def mostly_outside(reasons: Mapping[str, int], pairs: int, genome: Genome | None) -> str | None:
    """Ask whether it is the right genome where more than half of all `pairs` lie outside it, see `outside_rows`."""
    outside = sum(count for reason, count in reasons.items() if reason != _REASONS[_GIVEN_UNKNOWN])
    if genome is None or 2 * outside <= pairs:
        return None
    return (
        f"{outside:,} of {pairs:,} pairs lie outside {genome.path.name}; is it the right genome, by species and build?"
    )


def genome_hint(
    chrom: pd.Series,
    end: pd.Series,
    genome: Genome | None,
    reasons: Mapping[str, int],
    pairs: int,
    assembly: str = "",
) -> str:
    """Guess why elements lie outside a genome: names of chromosomes, build, or a genome that is a part.

    Parameters
    ----------
    chrom, end : Series, n elements
        Of the table; "" where unknown.
    genome : Genome or None
    reasons : mapping of str to int
        Pairs outside it, see `outside_rows`.
    pairs : int
        All pairs.
    assembly : str
        What the table says of itself, "" if nothing.
    """
    outside = sum(reasons.values())
    leave = (
        f"{outside:,} of {pairs:,} pairs have no known bases to read; "
        "--outside-genome report leaves such pairs out and counts them"
    )
    if genome is None:
        return leave
    file = genome.path.name
    names = set(map(str, chrom.unique())) - {""}
    absent = names - set(genome.lengths)
    for name in sorted(absent):
        other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
        if other in genome.lengths:
            return f"the table says {name!r} where {file} says {other!r}: give both the same chr prefix"
    if absent and absent == names:
        shown = ", ".join(list(genome.lengths)[:5])
        return f"no chromosome of the table is in {file}, which has {shown}; is it the right genome?"
    mostly = mostly_outside(reasons, pairs, genome)
    if (end > chrom.map(genome.lengths)).any():
        build = f"the table is {assembly}" if assembly else "hg19 or hg38"
        mostly = mostly or f"positions past the end often mean another genome build ({build})"
    return leave if mostly is None else f"{mostly}\n{leave}"
