"""A light pass over the staged parts: what each environment holds, its support set, and the rows outside the genome.

Reads the columns of elements only. Knows neither models nor the tables that the parts came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from episode.data.dataset import element_loci
from episode.data.genome import Genome
from episode.data.outside import INSIDE, OUTSIDE, outside_rows
from episode.data.pairs import SIDES
from episode.errors import Problem, group_problems
from episode.inference.pairs import PairRows, bare_rows
from episode.inference.support_sampling import SupportDraw, content_ranks
from episode.predict.pairs import EnvironmentFacts
from episode.predict.streaming.blocks import Part, load_numbers, write_lines
from episode.predict.streaming.elements import Catalogue

__all__ = ["Staged", "Survey", "read_staged"]

COLUMNS = ["environment", "cell_line", "assay", "mirrored", "has_coordinates", "distance"]
IDS = ["enhancer_id", "promoter_id"]
PLACE = ["source", "row", *(f"{side}_{part}" for side in SIDES for part in ("name", "chrom", "start", "end"))]


@dataclass(frozen=True)
class Staged:
    """A staged part.

    Parameters
    ----------
    frame : DataFrame, n rows
        As staged.
    place : dict of str to ndarray, shape (n,)
        Of each side, the element of each row in the catalogue.
    """

    frame: pd.DataFrame
    place: dict[str, np.ndarray]

    def rows(self, ids: np.ndarray, keep: np.ndarray) -> PairRows:
        """Those where `keep` as arrays; `ids` is the id of each element of the catalogue."""
        frame = self.frame
        return bare_rows(
            ids[self.place["enhancer"][keep]],
            ids[self.place["promoter"][keep]],
            frame["mirrored"].to_numpy(bool)[keep],
            frame["has_coordinates"].to_numpy(bool)[keep],
            frame["distance"].to_numpy(np.float64)[keep],
        )

    def usable(self, ids: np.ndarray) -> np.ndarray:
        """Rows whose elements can both be used, shape (n,), bool."""
        return (ids[self.place["enhancer"]] >= 0) & (ids[self.place["promoter"]] >= 0)


def read_staged(folder: Path, part: Part, columns: list[str] | None = None) -> Staged:
    """Read a staged part, or some of its columns besides those of the elements."""
    wanted = None if columns is None else [*columns, *IDS]
    frame = pd.read_parquet(folder / "rows" / f"{part.name}.parquet", columns=wanted)
    numbers = dict(zip(SIDES, load_numbers(folder, part), strict=True))
    place = {side: numbers[side][frame[f"{side}_id"].to_numpy()].astype(np.int64) for side in SIDES}
    return Staged(frame.drop(columns=IDS), place)


@dataclass
class Survey:
    """What the parts hold together.

    Parameters
    ----------
    size : int
        Largest support.
    unplaced, undistanced : int
        Pairs without coordinates and without a distance.
    reasons : Counter of str
        Pairs outside the genome by reason.
    problems : list of Problem
        The rows outside the genome, by file and reason.
    """

    size: int
    seed: int
    environments: dict[str, EnvironmentFacts] = field(default_factory=dict)
    draws: dict[str, SupportDraw] = field(default_factory=dict)
    unplaced: int = 0
    undistanced: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    used: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def outside(self) -> int:
        """Number of pairs outside the genome."""
        return self.reasons.total()

    def run(
        self, folder: Path, parts: Sequence[Part], catalogue: Catalogue, files: Sequence[str], genome: Genome | None
    ) -> Iterator[Part]:
        """Go through the parts; yield each when it is done."""
        table = catalogue.table
        ids = table["id"].to_numpy()
        digests = [text.encode() for text in catalogue.elements["digest"]]
        self.used = np.zeros(len(digests), dtype=bool)
        complete = bool((table["state"] == INSIDE).all())
        for part in parts:
            staged = read_staged(folder, part, COLUMNS if complete else [*COLUMNS, *PLACE])
            if not complete:
                self._note_outside(folder, part, staged, table, files, genome)
            self._take(staged, ids, digests)
            yield part

    def supports(self, elements: pd.DataFrame) -> dict[str, PairRows]:
        """The support set of each environment, sorted by name; loci are those of the enhancers in use."""
        used = np.flatnonzero(self.used)
        locus = np.full(len(elements), -1, dtype=np.int64)
        locus[used] = element_loci(elements.iloc[used])
        found = {}
        for name in sorted(self.draws):
            rows = self.draws[name].rows
            if rows is not None:
                rows.locus[:] = locus[rows.enhancer]
                found[name] = rows
        return found

    def _take(self, staged: Staged, ids: np.ndarray, digests: list[bytes]) -> None:
        keep = np.flatnonzero(staged.usable(ids))
        frame, rows = staged.frame.iloc[keep], staged.rows(ids, keep)
        self.used[rows.enhancer] = self.used[rows.promoter] = True
        self.unplaced += int((~rows.oriented).sum())
        self.undistanced += int(np.isnan(rows.distance).sum())
        rank = content_ranks(self.seed, digests, rows)
        codes, names = pd.factorize(frame["environment"])
        for number, name in enumerate(map(str, names)):
            mine = np.flatnonzero(codes == number)
            first = frame.iloc[mine[0]]
            before = self.environments.get(name)
            count = len(mine) + (0 if before is None else before.n)
            self.environments[name] = EnvironmentFacts(str(first["cell_line"]), str(first["assay"]), count)
            self.draws.setdefault(name, SupportDraw(self.size)).offer(rank[mine], rows.take(mine))

    def _note_outside(
        self, folder: Path, part: Part, staged: Staged, table: pd.DataFrame, files: Sequence[str], genome: Genome | None
    ) -> None:
        state = {side: table["state"].to_numpy(np.int8)[place] for side, place in staged.place.items()}
        unknown = {side: table["unknown"].to_numpy()[place] for side, place in staged.place.items()}
        outside, reasons = outside_rows(staged.frame, files, genome, state, unknown)
        if outside.total:
            self.reasons.update(reasons)
            self.problems = group_problems([*self.problems, *outside.problems()])
            write_lines(outside.dropped(OUTSIDE), folder / "outside" / f"{part.name}.tsv")
