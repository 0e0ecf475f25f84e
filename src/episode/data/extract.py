"""Reading the bases of every distinct element, and finding the pairs that the genome does not cover.

One interval (or named sequence) is read once however many pairs use it; the order of elements does not
depend on the order of rows. Does not know dataset folders.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.config import WindowConfig
from episode.data.elements import UNKNOWN, crop_offset, encode, gc_content, unknown_fraction, window_bounds
from episode.data.genome import Genome
from episode.data.pairs import DROPPED_COLUMNS, SIDES, PairTable, empty_dropped
from episode.errors import EpisodeError, InputError, Problem

__all__ = ["Extracted", "extract", "genome_hint"]

_INSIDE, _NO_CHROMOSOME, _BEYOND_END, _ALL_UNKNOWN, _PARTLY_UNKNOWN = range(5)
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
class _Side:
    """Distinct elements of one side: their frame, the element of each row, codes, and why some have none.

    `state` says why, one number an element; `unknown` counts the bases of the element itself that are N.
    """

    elements: pd.DataFrame
    of_row: npt.NDArray[np.int64]
    codes: list[npt.NDArray[np.uint8]]
    state: npt.NDArray[np.int8]
    unknown: npt.NDArray[np.int64]
    genome_read: bool


def extract(
    table: PairTable,
    genome: Genome | None,
    windows: WindowConfig,
    *,
    drop: bool,
    max_unknown: float = 0.0,
) -> Extracted:
    """Read every element of a table.

    Parameters
    ----------
    table : PairTable
    genome : Genome or None
        Read where the table brings no sequence of an element's name.
    windows : WindowConfig
    drop : bool
        Leave out pairs outside the genome; otherwise they are an error.
    max_unknown : float
        Largest share of N that an element read from the genome may have, in [0, 1).

    Raises
    ------
    InputError
        If pairs lie outside the genome and `drop` is False, or if no pair is left.
    EpisodeError
        If a genome is needed and None is given.
    """
    window = {"enhancer": windows.enhancer, "promoter": windows.promoter}
    sides = {side: _read_side(table, genome, side, window[side], max_unknown) for side in SIDES}
    state = {side: found.state[found.of_row] for side, found in sides.items()}
    keep = (state["enhancer"] == _INSIDE) & (state["promoter"] == _INSIDE)
    problems, reasons = ([], {}) if keep.all() else _outside(table, genome, sides, state)
    if problems and (not drop or not keep.any()):
        raise InputError(problems, genome_hint(table, genome))
    ids, frames, codes, offset = {}, [], [], 0
    for side, found in sides.items():
        used = np.zeros(len(found.elements), dtype=bool)
        used[found.of_row[keep]] = True
        new_id = np.cumsum(used) - 1 + offset
        ids[side] = new_id[found.of_row[keep]].astype(np.int32)
        frames.append(found.elements[used])
        codes += [found.codes[i] for i in np.flatnonzero(used)]
        offset += int(used.sum())
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
        dropped=_dropped(table, problems),
        genome_read=any(found.genome_read for found in sides.values()),
    )


def _read_side(table: PairTable, genome: Genome | None, side: str, window: int, max_unknown: float) -> _Side:
    sequences = table.sequences(side)
    columns = [f"{side}_{part}" for part in ("name", "chrom", "start", "end")]
    rows = table.frame[columns].set_axis(["name", "chrom", "start", "end"], axis="columns")
    given = rows["name"].isin(list(sequences))
    if genome is None and not given.all():
        row = table.frame[~given.to_numpy()].iloc[0]
        where = f"{table.sources[row['source']].path}:{row['row']}"
        raise EpisodeError(
            f"{where}: the sequence of {side} {row[f'{side}_name']!r} needs a genome; give --genome FASTA"
        )
    key = pd.DataFrame(
        {
            "given": given,
            "chrom": rows["chrom"].where(~given, ""),
            "start": rows["start"].where(~given, -1),
            "end": rows["end"].where(~given, -1),
            "key_name": rows["name"].where(given, ""),
        }
    )
    of_row = key.groupby(list(key.columns), sort=True).ngroup().to_numpy().astype(np.int64)
    # An interval takes the least of the names given for it: the order of rows must not matter.
    elements = rows.assign(element=of_row).sort_values(["element", "name"], kind="stable").drop_duplicates("element")
    is_given = given.to_numpy()[elements.index]
    elements = elements.drop(columns="element").reset_index(drop=True)
    elements.insert(0, "kind", pd.Series([side] * len(elements), dtype="str"))
    codes: list[npt.NDArray[np.uint8]] = []
    state = np.zeros(len(elements), dtype=np.int8)
    unknown = np.zeros(len(elements), dtype=np.int64)
    bounds = np.zeros((len(elements), 2), dtype=np.int64)
    for i, (name, chrom, start, end) in enumerate(elements[["name", "chrom", "start", "end"]].itertuples(index=False)):
        if is_given[i]:
            codes.append(_crop(sequences[name], window))
            bounds[i] = _crop_bounds(chrom, start, end, len(sequences[name]), window)
        elif genome is not None:
            found = _read_window(genome, chrom, start, end, window, max_unknown)
            state[i], unknown[i] = found.state, found.unknown
            codes.append(found.codes)
            low, high = window_bounds(np.array([start]), np.array([end]), window)
            bounds[i] = max(int(low[0]), 0), min(int(high[0]), genome.lengths.get(chrom, 0))
    elements["start"], elements["end"] = bounds[:, 0], bounds[:, 1]
    return _Side(elements, of_row, codes, state, unknown, not bool(given.all()))


def _crop(sequence: str, window: int) -> npt.NDArray[np.uint8]:
    left, right = crop_offset(len(sequence), window)
    return encode(sequence[left:right])


def _crop_bounds(chrom: str, start: int, end: int, length: int, window: int) -> tuple[int, int]:
    """Return where the part read lies; a sequence that is not as long as its interval is centred on it."""
    if chrom == "":
        return -1, -1
    left, right = crop_offset(length, window)
    first = (start + end) // 2 - length // 2
    return max(first + left, 0), first + right


@dataclass(frozen=True)
class _Window:
    """One window as read: why it is unusable (or `_INSIDE`), its codes, and the N in the element."""

    state: int
    codes: npt.NDArray[np.uint8]
    unknown: int = 0


def _read_window(genome: Genome, chrom: str, start: int, end: int, window: int, max_unknown: float) -> _Window:
    """Read one window, N where it leaves the chromosome; empty where the element is outside the genome."""
    nothing = np.zeros(0, dtype=np.uint8)
    length = genome.lengths.get(chrom)
    if length is None:
        return _Window(_NO_CHROMOSOME, nothing)
    if end > length:
        return _Window(_BEYOND_END, nothing)
    lows, highs = window_bounds(np.array([start]), np.array([end]), window)
    low, high = int(lows[0]), int(highs[0])
    first, last = max(min(low, start), 0), min(max(high, end), length)
    bases = genome.fetch(chrom, first, last)
    unknown = bases[start - first : end - first].upper().count("N")
    if unknown == end - start:
        return _Window(_ALL_UNKNOWN, nothing, unknown)
    if unknown > max_unknown * (end - start):
        return _Window(_PARTLY_UNKNOWN, nothing, unknown)
    codes = np.full(high - low, UNKNOWN, dtype=np.uint8)
    inner_low, inner_high = max(low, 0), min(high, length)
    codes[inner_low - low : inner_high - low] = encode(bases[inner_low - first : inner_high - first])
    if (codes == UNKNOWN).all():
        return _Window(_ALL_UNKNOWN, nothing, unknown)
    return _Window(_INSIDE, codes, unknown)


def _outside(
    table: PairTable,
    genome: Genome | None,
    sides: dict[str, _Side],
    state: dict[str, npt.NDArray[np.int8]],
) -> tuple[list[Problem], dict[str, int]]:
    """Describe the rows outside the genome: one problem a row, the enhancer's if both elements have one."""
    lengths = {} if genome is None else genome.lengths
    file = "the genome" if genome is None else genome.path.name
    frame = table.frame
    parts = ("chrom", "start", "end")
    columns = {side: [frame[f"{side}_{part}"].to_numpy() for part in parts] for side in SIDES}
    source, row = frame["source"].to_numpy(), frame["row"].to_numpy()
    problems: list[Problem] = []
    reasons = Counter[str]()
    for i in np.flatnonzero((state["enhancer"] != _INSIDE) | (state["promoter"] != _INSIDE)):
        side = "enhancer" if state["enhancer"][i] != _INSIDE else "promoter"
        why = int(state[side][i])
        chrom, start, end = (values[i] for values in columns[side])
        if why == _NO_CHROMOSOME:
            column, value, need = f"{side}_chrom", str(chrom), f"is not in {file}"
        elif why == _BEYOND_END:
            column, value = f"{side}_end", str(end)
            need = f"is past the end of {chrom}, which has {lengths[chrom]} bp in {file}"
        else:
            unknown = int(sides[side].unknown[sides[side].of_row[i]])
            column, value = side, f"{chrom}:{start}-{end}"
            need = f"has {unknown} N in {end - start} bp of {file}; needs known bases"
        reasons[_REASONS[why]] += 1
        problems.append(Problem(table.sources[source[i]].path, need, int(row[i]), column, value))
    return problems, {reason: reasons[reason] for reason in _REASONS.values() if reasons[reason]}


def _dropped(table: PairTable, problems: list[Problem]) -> pd.DataFrame:
    if not problems:
        return empty_dropped()
    rows = [(p.file, p.row, p.column, p.value, f"outside genome: {p.need}") for p in problems]
    return pd.DataFrame(rows, columns=list(DROPPED_COLUMNS))


def genome_hint(table: PairTable, genome: Genome | None) -> str | None:
    """Guess why pairs lie outside a genome: names of chromosomes, build, or a genome that is a part."""
    if genome is None:
        return None
    file = genome.path.name
    names = {str(name) for side in SIDES for name in table.frame[f"{side}_chrom"].unique()} - {""}
    absent = names - set(genome.lengths)
    for name in sorted(absent):
        other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
        if other in genome.lengths:
            return f"the table says {name!r} where {file} says {other!r}: give both the same chr prefix"
    if absent and absent == names:
        shown = ", ".join(list(genome.lengths)[:5])
        return f"no chromosome of the table is in {file}, which has {shown}; is it the right genome?"
    leave = "--outside-genome report leaves such pairs out and counts them"
    for side in SIDES:
        length = table.frame[f"{side}_chrom"].map(genome.lengths)
        if (table.frame[f"{side}_end"] > length).any():
            build = f"the table is {table.assembly}" if table.assembly else "hg19 or hg38"
            return f"positions past the end often mean another genome build ({build}); {leave}"
    return leave
