"""Reading the bases of every distinct element, and finding the pairs that the genome does not cover.

One interval (or named sequence) is read once however many pairs use it; the order of elements does not
depend on the order of rows. Does not know dataset folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.config import WindowConfig
from episode.data.genome import Genome
from episode.data.pairs import DROPPED_COLUMNS, SIDES, PairTable, empty_dropped
from episode.dna import UNKNOWN, crop_offset, encode, gc_content, unknown_fraction, window_bounds
from episode.errors import EpisodeError, InputError, Problem

__all__ = [
    "INSIDE",
    "Extracted",
    "Window",
    "crop_given",
    "extract",
    "genome_hint",
    "outside_problems",
    "outside_rows",
    "read_window",
]

INSIDE = 0
"""State of an element that could be read."""
_NO_CHROMOSOME, _BEYOND_END, _ALL_UNKNOWN, _PARTLY_UNKNOWN = range(1, 5)
_REASONS = {
    _NO_CHROMOSOME: "chromosome not in the genome",
    _BEYOND_END: "position past the end of the chromosome",
    _ALL_UNKNOWN: "only N in the genome",
    _PARTLY_UNKNOWN: "partly N in the genome",
}


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
        N in the element itself.
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
    problems: list[Problem] = []
    reasons: dict[str, int] = {}
    if not keep.all():
        unknown = {side: np.array([w.unknown for w in found.windows])[found.of_row] for side, found in sides.items()}
        files = [source.path for source in table.sources]
        problems, reasons = outside_problems(table.frame, files, genome, state, unknown)
    if problems and (not drop or not keep.any()):
        chrom, end = (pd.concat([table.frame[f"{side}_{part}"] for side in SIDES]) for part in ("chrom", "end"))
        raise InputError(problems, genome_hint(chrom, end, genome, table.assembly))
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
        dropped=outside_rows(problems),
        genome_read=any(found.genome_read for found in sides.values()),
    )


def _read_side(table: PairTable, genome: Genome | None, side: str, window: int, max_unknown: float) -> _Side:
    sequences = table.sequences[side]
    parts = ["name", "chrom", "start", "end"]
    rows = table.frame[[f"{side}_{part}" for part in parts]].set_axis(parts, axis="columns")
    given = rows["name"].isin(list(sequences))
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
    elements = elements[parts].reset_index(drop=True)
    found: list[Window] = []
    for name, chrom, start, end in elements.itertuples(index=False):
        if name in sequences:
            found.append(crop_given(sequences[name], chrom, start, end, window))
        elif genome is not None:
            found.append(read_window(genome, chrom, start, end, window, max_unknown))
    elements.insert(0, "kind", pd.Series([side] * len(elements), dtype="str"))
    elements["start"] = np.array([w.start for w in found], dtype=np.int64)
    elements["end"] = np.array([w.end for w in found], dtype=np.int64)
    return _Side(elements, found, of_row, not bool(given.all()))


def crop_given(sequence: str, chrom: str, start: int, end: int, window: int) -> Window:
    """Take the window of a given sequence; one that is not as long as its interval is centred on it."""
    left, right = crop_offset(len(sequence), window)
    codes = encode(sequence[left:right])
    if chrom == "":
        return Window(INSIDE, codes, 0, -1, -1)
    first = (start + end) // 2 - len(sequence) // 2
    return Window(INSIDE, codes, 0, max(first + left, 0), first + right)


def read_window(genome: Genome, chrom: str, start: int, end: int, window: int, max_unknown: float) -> Window:
    """Read one window, N where it leaves the chromosome; empty where the element is outside the genome."""
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
    bases = genome.fetch(chrom, first, last)
    unknown = bases[start - first : end - first].upper().count("N")
    if unknown == end - start:
        return unusable(_ALL_UNKNOWN, unknown)
    if unknown > max_unknown * (end - start):
        return unusable(_PARTLY_UNKNOWN, unknown)
    codes = np.full(high - low, UNKNOWN, dtype=np.uint8)
    codes[inner_low - low : inner_high - low] = encode(bases[inner_low - first : inner_high - first])
    if (codes == UNKNOWN).all():
        return unusable(_ALL_UNKNOWN, unknown)
    return Window(INSIDE, codes, unknown, inner_low, inner_high)


def outside_problems(
    frame: pd.DataFrame,
    files: Sequence[str],
    genome: Genome | None,
    state: Mapping[str, npt.NDArray[np.integer]],
    unknown: Mapping[str, npt.NDArray[np.integer]],
) -> tuple[list[Problem], dict[str, int]]:
    """Describe the rows outside the genome: one problem a row, the enhancer's if both elements have one.

    Parameters
    ----------
    frame : DataFrame, n rows
        Intervals, `source` and `row` of a pair table.
    files : sequence of str
        Path of each source.
    genome : Genome or None
    state, unknown : mapping of side to int array, shape (n,)
        Of the element of each row, see `Window`.

    Returns
    -------
    list of Problem, dict of str to int
        The rows, and their number by reason.
    """
    lengths = {} if genome is None else genome.lengths
    file = "the genome" if genome is None else genome.path.name
    parts = ("chrom", "start", "end")
    columns = {side: [frame[f"{side}_{part}"].to_numpy() for part in parts] for side in SIDES}
    source, row = frame["source"].to_numpy(), frame["row"].to_numpy()
    problems: list[Problem] = []
    reasons = Counter[str]()
    for i in np.flatnonzero((state["enhancer"] != INSIDE) | (state["promoter"] != INSIDE)):
        side = "enhancer" if state["enhancer"][i] != INSIDE else "promoter"
        why = int(state[side][i])
        chrom, start, end = (values[i] for values in columns[side])
        if why == _NO_CHROMOSOME:
            column, value, need = f"{side}_chrom", str(chrom), f"is not in {file}"
        elif why == _BEYOND_END:
            column, value = f"{side}_end", str(end)
            need = f"is past the end of {chrom}, which has {lengths[chrom]} bp in {file}"
        else:
            column, value = side, f"{chrom}:{start}-{end}"
            need = f"has {int(unknown[side][i])} N in {end - start} bp of {file}; needs known bases"
        reasons[_REASONS[why]] += 1
        problems.append(Problem(files[source[i]], need, int(row[i]), column, value))
    return problems, {reason: reasons[reason] for reason in _REASONS.values() if reasons[reason]}


def outside_rows(problems: Sequence[Problem]) -> pd.DataFrame:
    """Turn what `outside_problems` found into a table of dropped rows."""
    if not problems:
        return empty_dropped()
    rows = [(p.file, p.row, p.column, p.value, f"outside genome: {p.need}") for p in problems]
    return pd.DataFrame(rows, columns=list(DROPPED_COLUMNS))


def genome_hint(chrom: pd.Series, end: pd.Series, genome: Genome | None, assembly: str = "") -> str | None:
    """Guess why elements lie outside a genome: names of chromosomes, build, or a genome that is a part.

    Parameters
    ----------
    chrom, end : Series, n elements
        Of the table; "" where unknown.
    genome : Genome or None
    assembly : str
        What the table says of itself, "" if nothing.
    """
    if genome is None:
        return None
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
    leave = "--outside-genome report leaves such pairs out and counts them"
    if (end > chrom.map(genome.lengths)).any():
        build = f"the table is {assembly}" if assembly else "hg19 or hg38"
        return f"positions past the end often mean another genome build ({build}); {leave}"
    return leave
