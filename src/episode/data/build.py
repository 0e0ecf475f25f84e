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
from episode.data.readers import OnInvalid, read_valid_pairs
from episode.data.splits import check_names
from episode.errors import EpisodeError, InputError
from episode.limits import ELEMENT_BASES

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
    promoter_flank
        See `episode.data.validation.validate`.
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    cell_line: str | None = None
    assay: str | None = None
    on_invalid: OnInvalid = "error"
    outside_genome: OutsideGenome = "error"
    max_unknown: float = 0.0
    promoter_flank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_unknown < 1:
            raise EpisodeError(f"max_unknown is {self.max_unknown}; needs a fraction of at least 0 and less than 1")
        if not 0 <= 2 * self.promoter_flank <= ELEMENT_BASES:
            need = f"needs 0 to {ELEMENT_BASES // 2:,} bp"
            raise EpisodeError(f"promoter_flank is {self.promoter_flank}; {need}")


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
    table = read_valid_pairs(
        paths,
        format=options.format,
        columns=options.columns,
        cell_line=options.cell_line,
        assay=options.assay,
        labels=labels,
        promoter_flank=options.promoter_flank,
        drop=options.on_invalid == "drop",
    )
    refused = table.problems if options.on_invalid == "error" else ()
    if table.frame.empty:
        raise InputError(table.problems, None if refused else "no row is left")
    try:
        dataset = assemble(
            table if only is None else _only(table, only),
            genome,
            windows,
            outside_genome=options.outside_genome,
            on_invalid=options.on_invalid,
            max_unknown=options.max_unknown,
        )
    except InputError as error:
        raise InputError([*refused, *error.problems], error.hint) from None
    except EpisodeError:
        if refused:
            raise InputError(refused) from None
        raise
    if refused:
        raise InputError(refused)
    return dataset


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
