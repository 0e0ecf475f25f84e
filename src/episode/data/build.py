"""From the user's files to a dataset, with every problem of the tables named at once.

Reading finds what is wrong with the rows, assembling what is wrong with their place in the genome; a user wants to
hear of both together. Knows neither the formats nor the genome; `readers` and `dataset` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from episode.config import WindowConfig
from episode.data.dataset import Dataset, OutsideGenome, assemble
from episode.data.genome import Genome
from episode.data.pairs import PairTable, group_names
from episode.data.readers import OnInvalid, read_pairs
from episode.data.splits import check_names
from episode.errors import InputError

__all__ = ["ReadOptions", "build_dataset", "check_group"]


@dataclass(frozen=True)
class ReadOptions:
    """How pair tables are read and placed on the genome.

    Parameters
    ----------
    format, columns, cell_line, assay
        See `episode.data.readers.read_pairs`.
    on_invalid : {"error", "drop"}
        What to do about rows that break a rule: raise, or leave them out and list them.
    outside_genome, max_unknown
        See `episode.data.dataset.assemble`.
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    cell_line: str | None = None
    assay: str | None = None
    on_invalid: OnInvalid = "error"
    outside_genome: OutsideGenome = "error"
    max_unknown: float = 0.0


def build_dataset(
    paths: Sequence[Path | str],
    genome: Genome | None,
    windows: WindowConfig,
    options: ReadOptions | None = None,
    *,
    labels: bool = True,
    only: str | None = None,
) -> Dataset:
    """Read pair tables and take their elements from the genome.

    Parameters
    ----------
    paths : sequence of paths
        Files, or domain-kl folders.
    genome : Genome or None
        Needed unless the tables bring every sequence.
    windows, options
        See `episode.data.dataset.assemble` and `ReadOptions`.
    labels : bool
        Labels will be read, see `episode.data.readers.read_pairs`.
    only : str, optional
        Of the rows that meet the rules keep those of this cell line, environment or, after a colon, assay.

    Raises
    ------
    InputError
        With the problems of reading and of assembling together.
    """
    options = options or ReadOptions()

    def read(invalid: OnInvalid) -> Dataset:
        table = read_pairs(
            paths,
            format=options.format,
            columns=options.columns,
            cell_line=options.cell_line,
            assay=options.assay,
            on_invalid=invalid,
            labels=labels,
        )
        return assemble(
            table if only is None else _only(table, only),
            genome,
            windows,
            outside_genome=options.outside_genome,
            on_invalid=options.on_invalid,
            max_unknown=options.max_unknown,
        )

    try:
        return read(options.on_invalid)
    except InputError as first:
        if options.on_invalid == "drop":
            raise
        try:
            read("drop")
        except InputError as second:
            known = set(first.problems)
            more = [problem for problem in second.problems if problem not in known]
            if more:
                raise InputError([*first.problems, *more], first.hint or second.hint) from None
        raise


def check_group(name: str, present: Iterable[str]) -> None:
    """Refuse a cell line, environment or assay that does not occur among `group_names`.

    Raises
    ------
    EpisodeError
        The message lists those that do.
    """
    if name.startswith(":"):
        check_names("assay", [name[1:]], [other[1:] for other in present if other not in ("", ":") and other[0] == ":"])
    else:
        check_names("cell line", [name], [other for other in present if not other.startswith(":")])


def _only(table: PairTable, name: str) -> PairTable:
    """Keep the rows of one cell line, environment or assay."""
    names = group_names(table.frame)
    keep = (names == name).any(axis="columns")
    if not keep.any():
        check_group(name, np.unique(names))
    return replace(table, frame=table.frame[keep].reset_index(drop=True))
