"""From the user's files to a dataset, with every problem of the tables named at once.

Reading finds what is wrong with the rows, assembling what is wrong with their place in the genome; a user wants to
hear of both together. Knows neither the formats nor the genome; `readers` and `dataset` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.genome import Genome
from episode.data.pairs import PairTable, group_names
from episode.data.readers import OnInvalid, read_pairs
from episode.data.splits import check_names
from episode.errors import InputError

__all__ = ["build_dataset", "check_group"]


def build_dataset(
    paths: Sequence[Path | str],
    genome: Genome | None,
    windows: WindowConfig,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    cell_line: str | None = None,
    assay: str | None = None,
    on_invalid: OnInvalid = "error",
    outside_genome: Literal["error", "report"] = "error",
    max_unknown: float = 0.0,
    labels: bool = True,
    only: str | None = None,
) -> Dataset:
    """Read pair tables and take their elements from the genome; see `read_pairs` and `assemble` for the parameters.

    Of the rows that meet the rules, those of `only` are kept, where it is given: a cell line, an environment
    or, after a colon, an assay.

    Raises
    ------
    InputError
        With the problems of reading and of assembling together.
    """

    def read(invalid: OnInvalid) -> Dataset:
        table = read_pairs(
            paths,
            format=format,
            columns=columns,
            cell_line=cell_line,
            assay=assay,
            on_invalid=invalid,
            labels=labels,
        )
        if only is not None:
            table = _only(table, only)
        return assemble(
            table, genome, windows, outside_genome=outside_genome, on_invalid=on_invalid, max_unknown=max_unknown
        )

    try:
        return read(on_invalid)
    except InputError as first:
        if on_invalid == "drop":
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
