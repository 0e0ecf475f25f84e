"""Why elements cannot be read: their states, the rows that have them, and what is likely to be the cause.

Does not read genomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.findings import Findings, Need
from episode.data.genome import Genome
from episode.data.pairs import SIDES, interval_names
from episode.limits import ELEMENT_BASES

__all__ = [
    "ALL_UNKNOWN",
    "BEYOND_END",
    "GIVEN_UNKNOWN",
    "INSIDE",
    "NO_CHROMOSOME",
    "OUTSIDE",
    "PARTLY_UNKNOWN",
    "TOO_LONG",
    "genome_hint",
    "mostly_outside",
    "outside_rows",
]

INSIDE = 0
"""State of an element that could be read."""
NO_CHROMOSOME, BEYOND_END, ALL_UNKNOWN, PARTLY_UNKNOWN, GIVEN_UNKNOWN, TOO_LONG = range(1, 7)
_REASONS = {
    NO_CHROMOSOME: "chromosome not in the genome",
    BEYOND_END: "position past the end of the chromosome",
    ALL_UNKNOWN: "only unknown bases in the genome",
    PARTLY_UNKNOWN: "partly unknown bases in the genome",
    GIVEN_UNKNOWN: "unknown bases in the given sequence",
    TOO_LONG: f"element longer than {ELEMENT_BASES:,} bp",
}
OUTSIDE = "outside genome: "
"""How the reason of a row that is left out for its place begins."""


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
    if why == NO_CHROMOSOME:
        return f"{side}_chrom", chrom, f"is not in {file}"
    if why == BEYOND_END:
        return (
            f"{side}_end",
            end,
            lambda at: f"is past the end of {chrom.iloc[at]}, which has {lengths[chrom.iloc[at]]} bp in {file}",
        )
    if why == TOO_LONG:
        return f"{side}_end", end, f"is more than {ELEMENT_BASES:,} bp past {side}_start"
    if why == GIVEN_UNKNOWN:
        need = "bases other than A, C, G and T in its sequence; needs known bases, or a larger --max-unknown"
        return f"{side}_name", frame[f"{side}_name"], lambda at: f"has {unknown[at]} {need}"
    return (
        side,
        interval_names(frame, side),
        lambda at: (
            f"has {unknown[at]} bases other than A, C, G and T in {end.iloc[at] - start.iloc[at]} bp of {file}; "
            "needs known bases, or a larger --max-unknown"
        ),
    )


def mostly_outside(reasons: Mapping[str, int], pairs: int, genome: Genome | None) -> str | None:
    """Ask whether it is the right genome where more than half of all `pairs` lie outside it, see `outside_rows`."""
    outside = sum(count for reason, count in reasons.items() if reason != _REASONS[GIVEN_UNKNOWN])
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
    leave = "--outside-genome report leaves such pairs out and counts them"
    file = "their sequences" if genome is None else genome.path.name
    some = f"{sum(reasons.values()):,} of {pairs:,} pairs cannot be read from {file}; {leave}"
    if genome is None:
        return some
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
    if mostly is not None:
        return f"{mostly}\n{leave}"
    if (end > chrom.map(genome.lengths)).any():
        build = f"the table is {assembly}" if assembly else "hg19 or hg38"
        return f"positions past the end often mean another genome build ({build})\n{some}"
    return some
