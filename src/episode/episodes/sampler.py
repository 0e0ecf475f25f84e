"""Episodes: one environment, a support set and a query set that share no locus.

Rows alone would leak (many rows repeat an enhancer-gene pair), so whole loci go to one side or the other. The generator
is passed in: the same generator gives the same task. This module does NOT know models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from episode.config import EpisodesConfig

__all__ = ["KINDS", "EnvironmentPool", "Task", "draw_kind", "draw_shown", "draw_sizes", "split_by_locus"]

KINDS = ("train", "pseudo_ood", "prior_shift", "mixed")


@dataclass(frozen=True)
class EnvironmentPool:
    """The rows of one environment that a role may use.

    Parameters
    ----------
    rows : ndarray, shape (n,), int64
        Rows of the `PairRows` table.
    locus : ndarray, shape (n,), int64
        Locus of each row.
    label : ndarray, shape (n,), int8
        1, 0 or -1.
    teacher : int or None
        Index in the Teacher's table; None for a pseudo-OOD or validation environment.
    """

    name: str
    rows: np.ndarray
    locus: np.ndarray
    label: np.ndarray
    teacher: int | None

    @property
    def prevalence(self) -> float:
        """Fraction of positives among labelled rows; NaN where there are none."""
        known = self.label[self.label >= 0]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def two_classes(self) -> bool:
        """Both classes are present, so query labels can teach."""
        return bool((self.label == 1).any() and (self.label == 0).any())


@dataclass(frozen=True)
class Task:
    """One episode of one environment.

    Parameters
    ----------
    kind : str
        "train", "pseudo_ood", "prior_shift" or "mixed".
    support, query : ndarray of int64
        Rows of the `PairRows` table; no locus in common. A mixed task has no query.
    shown : ndarray, shape (len(support),), bool
        Support rows whose label the Student sees.
    two_way : bool
        The halves swap roles: support rows are queried too, with the query rows as their support.
    other : EnvironmentPool or None
        Second environment of a mixed task.
    fraction : float
        Mixed task: fraction of the support from `environment`. Prior shift: the drawn prevalence.
    """

    environment: EnvironmentPool
    kind: str
    support: np.ndarray
    query: np.ndarray
    shown: np.ndarray
    two_way: bool = False
    other: EnvironmentPool | None = None
    fraction: float = float("nan")


def draw_kind(rng: np.random.Generator, config: EpisodesConfig, *, pseudo_ood: bool, several: bool) -> str:
    """Draw a kind of task by its configured weight, leaving out those that the data cannot give."""
    weights = np.array(
        [config.train, config.pseudo_ood if pseudo_ood else 0.0, config.prior_shift, config.mixed if several else 0.0]
    )
    return KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]


def split_by_locus(
    rng: np.random.Generator, locus: np.ndarray, *, query: int, support: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a support and a query set that share no locus.

    Parameters
    ----------
    locus : ndarray, shape (n,)
        Locus of each candidate row.
    query, support : int
        Wanted sizes. Each side gets its part of all loci, thinned to what is wanted: so a query set holds as many
        distinct elements as it can. An environment too small for both gives each side its part of what there is.

    Returns
    -------
    support_index, query_index : ndarray of int64
        Positions in `locus`, ascending; neither longer than wanted. One locus alone leaves the support empty.
    """
    distinct, inverse, count = np.unique(locus, return_inverse=True, return_counts=True)
    order = rng.permutation(len(distinct))
    total = len(locus)
    wanted = max(1, round(total * query / (query + support)))
    reached = np.cumsum(count[order])
    taken = min(int(np.searchsorted(reached, wanted)) + 1, max(1, len(distinct) - 1))
    in_query = np.zeros(len(distinct), dtype=bool)
    in_query[order[:taken]] = True
    sides = in_query[inverse.reshape(-1)]
    return (_thin(rng, np.flatnonzero(~sides), support), _thin(rng, np.flatnonzero(sides), query))


def _thin(rng: np.random.Generator, rows: np.ndarray, size: int) -> np.ndarray:
    return rows if len(rows) <= size else np.sort(rng.choice(rows, size=size, replace=False))


def draw_sizes(rng: np.random.Generator, config: EpisodesConfig) -> tuple[int, bool]:
    """Draw N_support (log-uniform) and whether the task is two-way (then N_support = N_query)."""
    if rng.random() < config.two_way:
        return config.query, True
    low, high = np.log(config.support_min), np.log(config.support_max + 1)
    return int(np.exp(rng.uniform(low, high))), False


def draw_shown(rng: np.random.Generator, config: EpisodesConfig, size: int) -> np.ndarray:
    """Label dropout: mostly no label of the support is shown, else a random fraction of them."""
    if rng.random() >= config.label_shown:
        return np.zeros(size, dtype=bool)
    return rng.random(size) < rng.random()
