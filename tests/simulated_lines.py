"""Scored pairs of simulated cell lines whose true levels are known, for tests of the Student in closed form.

Scores of the two classes are unit normals 1.5 apart, so the log-odds at training prevalence are known exactly:
``1.5 x - 1.125 + logit .3``. The level of a line is added to them before labels are drawn. Lines share no locus and no
promoter unless `Loci` are given; each locus has two promoters of its own, which add no noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from scipy.special import expit

from episode.inference.closed_form import View
from episode.train.student_records import LineScores

BASE = math.log(0.3 / 0.7)
CHANNELS = 12
DIRECTIONS = np.random.default_rng(99).normal(size=(2, CHANNELS))


@dataclass(frozen=True)
class Line:
    """A simulated line: its true level, and its pairs in both views."""

    level: float
    scores: dict[View, LineScores]


@dataclass(frozen=True)
class Loci:
    """Loci that lines have in common: what each adds to the composition (m, CHANNELS) and to the score (m,)."""

    name: str
    composition: dict[View, np.ndarray]
    score: dict[View, np.ndarray]


def simulated_loci(name: str, rng: np.random.Generator, count: int, *, composition: float, score: float) -> Loci:
    """Draw loci that add normal numbers of these standard deviations."""
    views: tuple[View, ...] = ("shared", "new")
    return Loci(
        name,
        {view: composition * rng.normal(size=(count, CHANNELS)) for view in views},
        {view: score * rng.normal(size=count) for view in views},
    )


def simulated_line(
    name: str,
    rng: np.random.Generator,
    *,
    score_shift: float = 0.0,
    carried: bool = True,
    concept: float = 0.0,
    noise: float = 0.0,
    rows: int = 900,
    shown: float = 0.3,
    loci: Loci | None = None,
) -> Line:
    """Simulate a line.

    Parameters
    ----------
    score_shift : float
        Log-odds by which its scores are those of another prevalence.
    carried : bool
        Whether the labels follow the scores (label shift); else only the scores move.
    concept : float
        Level for each unit of its first latent coordinate, which the composition shows.
    noise : float
        Standard deviation of a level that nothing shows.
    shown : float
        How much the composition shows of the latent coordinates.
    loci : Loci, optional
        Where the pairs lie; loci of its own by default.
    """
    place = rng.normal(size=2)
    level = score_shift * carried + concept * place[0] + noise * rng.normal()
    scores: dict[View, LineScores] = {}
    sizes: tuple[tuple[View, int], ...] = (("shared", rows), ("new", rows // 3))
    for view, size in sizes:
        drawn = rng.random(size) < expit(BASE + score_shift)
        score = rng.normal(1.5 * drawn, 1.0)
        label = rng.random(size) < expit(1.5 * score - 1.125 + BASE + level)
        count = size // 6 if loci is None else len(loci.score[view])
        locus = rng.integers(0, count, size)
        at_locus = 0.5 * rng.normal(size=(count, CHANNELS)) if loci is None else loci.composition[view]
        score += 0.0 if loci is None else loci.score[view][locus]
        first = crc32(f"{name if loci is None else loci.name} {view}".encode()) * 1_000_000
        composition = rng.normal(size=(size, CHANNELS)) + at_locus[locus] + shown * place @ DIRECTIONS
        scores[view] = LineScores(
            environment=name,
            potential=0.6 * score + (0.2 if view == "shared" else 0.0),
            label=label.astype(np.int8),
            clusters=first + np.column_stack([locus, 2 * locus + np.arange(size) % 2]),
            composition=composition.astype(np.float32),
        )
    return Line(level, scores)


def by_view(lines: list[Line]) -> dict[View, list[LineScores]]:
    """Arrange lines as the fit reads them."""
    return {view: [line.scores[view] for line in lines] for view in ("shared", "new")}
