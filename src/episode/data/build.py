"""From the user's files to a dataset, with every problem of the tables named at once.

Reading finds what is wrong with the rows, assembling what is wrong with their place in the genome; a user wants to
hear of both together. Knows neither the formats nor the genome; `readers` and `dataset` do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from episode.config import WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.genome import Genome
from episode.data.pairs import PairTable, environment_names
from episode.data.readers import OnInvalid, read_pairs
from episode.data.splits import check_names
from episode.errors import InputError

__all__ = ["build_dataset"]


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

    Of the rows that meet the rules, those of the cell line or environment `only` are kept, where one is given.

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


def _only(table: PairTable, name: str) -> PairTable:
    """Keep the rows of one cell line or environment."""
    cell_line, environment = table.frame["cell_line"], environment_names(table.frame)
    keep = (cell_line == name) | (environment == name)
    if not keep.any():
        check_names("cell line", [name], [*cell_line.unique(), *environment.unique()])
    return replace(table, frame=table.frame[keep].reset_index(drop=True))
