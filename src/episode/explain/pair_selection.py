"""Which pairs of a dataset are explained, and where their elements lie.

U_I knows no cell line, so a pair found in several is one. This module does NOT read labels, nor know sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from episode.checkpoint import Run
from episode.data.dataset import Dataset
from episode.data.readers.columns import column_list
from episode.data.readers.content import fail, read_content
from episode.data.readers.detect import find_layout
from episode.data.readers.text import read_text
from episode.encode.store import ElementStore
from episode.errors import EpisodeError, InputError, Problem
from episode.explain.pair_scorer import KINDS, Pair
from episode.inference.members import Member
from episode.inference.orientation import orientations
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.scoring import score_rows
from episode.predict.pairs import environment_views
from episode.seeds import generator

__all__ = ["Chosen", "Placed", "choose_pairs", "distinct_pairs", "read_pair_list"]

_HINT = (
    "--only takes a table with the columns enhancer and promoter and one row a pair: names as in the dataset, by "
    "default intervals such as chr20:250000-251200 and chr20:790000-792000"
)
IDENTITY = ["enhancer_id", "promoter_id", "mirrored", "has_coordinates"]
"""Columns that two rows share if they are one pair of U_I."""


@dataclass(frozen=True)
class Placed:
    """Name of an element, where it lies, and where its first stored base lies.

    Parameters
    ----------
    name : str
    chrom : str
        Empty where unknown.
    start, end : int
        The element, 0-based half-open; -1 where unknown.
    origin : int
        0-based; negative where the window begins before the chromosome.
    length : int
        Bases stored.
    """

    name: str
    chrom: str
    start: int
    end: int
    origin: int
    length: int


@dataclass(frozen=True)
class Chosen:
    """A pair to explain, with what a reader wants to know of it.

    Parameters
    ----------
    number : int
        From 1, in the order of choice.
    pair : Pair
    elements : dict of str to Placed
        By kind.
    mirrored : bool
        The promoter lies upstream.
    environment : str
        The first in the dataset that has the pair.
    """

    number: int
    pair: Pair
    elements: dict[str, Placed]
    mirrored: bool
    environment: str

    @property
    def name(self) -> str:
        """File name of the pair."""
        return f"pair{self.number:03d}"

    @property
    def oriented(self) -> bool:
        """Whether coordinates, and so the orientation, are known."""
        return len(self.pair.orientations) == 1


def distinct_pairs(dataset: Dataset) -> Dataset:
    """Keep the first row of every pair of elements in one orientation."""
    again = dataset.pairs.duplicated(IDENTITY)
    return dataset.select(~again.to_numpy())


def choose_pairs(
    run: Run,
    dataset: Dataset,
    store: ElementStore,
    count: int,
    *,
    by: Literal["potential", "random"] = "potential",
    seed: int = 0,
) -> list[Chosen]:
    """Choose distinct pairs: those of the highest U_I as predictions have it, or some drawn by the seed.

    Raises
    ------
    EpisodeError
        If fewer than one pair is asked for.
    """
    if count < 1:
        raise EpisodeError(f"{count} pairs to explain: needed at least 1")
    distinct = distinct_pairs(dataset)
    if by == "random":
        order = generator(seed, "explain", "pairs").permutation(len(distinct.pairs))
    else:
        rows = pair_rows(distinct, run.facts.shortcuts)
        potential = np.mean([_standardised(member, store, rows) for member in run.members], axis=0)
        views = environment_views(run, dataset, seed)
        seen = distinct.pairs["environment"].map(views).to_numpy()
        for view in set(views.values()) - {None}:
            potential[seen == view] = run.potential(potential[seen == view], view)
        order = np.argsort(-potential, kind="stable")
    return [_chosen(distinct, int(row), number) for number, row in enumerate(order[:count], start=1)]


def _standardised(member: Member, store: ElementStore, rows: PairRows) -> np.ndarray:
    """Score pairs by one member in units that all members share, shape (n,), float64."""
    return member.standardised(score_rows(member.system.backbone, store, rows).potential.double()).cpu().numpy()


def read_pair_list(path: Path, dataset: Dataset) -> list[Chosen]:
    """Read the pairs to explain from a table with the columns ``enhancer`` and ``promoter``, names as in the dataset.

    Of names that several pairs share, as of a gene with two promoters, all pairs are chosen, in the dataset's order.

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, or names an element or a pair that the dataset does not have.
    """
    try:
        content = read_content(path)
        table = read_text(content, find_layout(content, format="tidy", asked=KINDS))
    except InputError as error:
        raise InputError(error.problems, _HINT) from None
    frame = table.frame
    missing = [kind for kind in KINDS if kind not in frame]
    if missing:
        raise fail(path, f"has no column {missing[0]!r}; it has {column_list(list(frame.columns))}", hint=_HINT)
    pairs = dataset.pairs
    rows_of = pairs.groupby([pairs["enhancer_name"].astype(str), pairs["promoter_name"].astype(str)]).indices
    known = {kind: set(pairs[f"{kind}_name"]) for kind in KINDS}
    problems, rows = list(table.problems), list[int]()
    for line, (enhancer, promoter) in zip(table.row.tolist(), frame[list(KINDS)].itertuples(index=False), strict=True):
        named_here = zip(KINDS, (enhancer, promoter), strict=True)
        unknown = [(kind, name) for kind, name in named_here if name not in known[kind]]
        for kind, name in unknown:
            problems.append(Problem(str(path), f"names no {kind} of the pairs to choose from", line, kind, name))
        if not unknown and (enhancer, promoter) not in rows_of:
            need = f"is no pair with the enhancer {enhancer!r} in the dataset"
            problems.append(Problem(str(path), need, line, "promoter", promoter))
        rows.extend(rows_of.get((enhancer, promoter), ()))
    if problems:
        raise InputError(problems, _HINT)
    again = pairs.iloc[rows].duplicated(IDENTITY)  # one interval may have several names
    return [_chosen(dataset, row, number) for number, row in enumerate(np.array(rows)[~again.to_numpy()], start=1)]


def _chosen(dataset: Dataset, row: int, number: int) -> Chosen:
    pair = dataset.pairs.iloc[row]
    mirrored, oriented = bool(pair["mirrored"]), bool(pair["has_coordinates"])
    read = orientations(np.array([mirrored]), np.array([oriented]))[1].tolist()
    return Chosen(
        number,
        Pair(int(pair["enhancer_id"]), int(pair["promoter_id"]), tuple(read), float(pair["distance"])),
        {kind: _placed(dataset, pair, kind) for kind in KINDS},
        mirrored,
        str(pair["environment"]),
    )


def _placed(dataset: Dataset, pair: pd.Series, kind: str) -> Placed:
    """Windows are laid around the midpoint of an element, see `episode.dna.window_bounds`."""
    chrom = str(pair[f"{kind}_chrom"])
    start, end = int(pair[f"{kind}_start"]), int(pair[f"{kind}_end"])
    length = int(dataset.elements["length"].iloc[int(pair[f"{kind}_id"])])
    origin = (start + end) // 2 - length // 2 if chrom else -1
    return Placed(str(pair[f"{kind}_name"]), chrom, start, end, origin, length)
