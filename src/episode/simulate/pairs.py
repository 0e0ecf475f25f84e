"""The pairs that a cell line is asked about, and their labels.

The mathematics is in docs/simulator.md. This module does NOT know motifs or DNA: it sees burdens and potentials.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit

from episode.errors import ConfigError
from episode.simulate.config import SetConfig, WorldConfig
from episode.simulate.elements import Universe

__all__ = ["Drawn", "draw_pairs", "split_at_random"]

GROWTH = 1.25
"""Factor by which the active fraction grows where a cell line's candidates do not suffice."""
ACTIVE_MAX = 0.95


@dataclass(frozen=True)
class Drawn:
    """The pairs of one cell line on one set of chromosomes.

    Parameters
    ----------
    rows : ndarray, shape (n,), int64
        Rows of ``universe.pairs``, all pairs of an enhancer together.
    label : ndarray, shape (n,), int8
    shift : float
        What the selection by label adds to the log-odds of every pair, in nats; 0 if there is none.
    """

    rows: np.ndarray
    label: np.ndarray
    shift: float = 0.0


def draw_pairs(
    config: WorldConfig,
    universe: Universe,
    potential: np.ndarray,
    impedance: np.ndarray,
    line: pd.Series,
    prior: float,
    part: str,
    rng: np.random.Generator,
    *,
    count: int | None = None,
) -> Drawn:
    """Draw the pairs of one cell line on one set of chromosomes, and their labels.

    Parameters
    ----------
    potential, impedance : ndarray, shape (n_pairs_of_universe,)
        True U_I, and R_E in this cell line before any selection by label.
    line : Series
        A row of `draw_environments` or `draw_spectrum`.
    prior : float
        Prevalence of the reference environment (mean impedance) over the universe.
    part : str
        Name of the chromosome set.
    count : int, optional
        Number of pairs; by default drawn within the bounds of the set.

    Raises
    ------
    ConfigError
        If the set is too small for the wanted number of pairs.
    """
    sizes: SetConfig = getattr(config, part)
    n = round(float(np.exp(rng.uniform(*np.log(sizes.pairs))))) if count is None else count
    members = universe.members(part)
    rows = np.flatnonzero(members[universe.pairs["enhancer"].to_numpy()])
    log_odds = (potential[rows] - impedance[rows]) / config.temperature
    weight = _label_shift(config, potential[rows], line, prior)
    prevalence = config.prevalence(part)
    shift = 0.0
    if prevalence is not None:
        tilt, shift = _selection(log_odds, weight, prevalence)
        weight = weight * tilt
    accepted = np.flatnonzero(rng.random(len(weight)) < weight / weight.max())
    threshold = rng.random(len(universe.elements))
    rank = rng.permutation(len(universe.elements))
    enhancer = universe.pairs["enhancer"].to_numpy()[rows]
    accepted = accepted[np.argsort(rank[enhancer[accepted]], kind="stable")]
    rows, log_odds = rows[accepted], log_odds[accepted] + shift
    activities = _activities(config, universe, members, line, threshold)
    if prevalence is None:
        kept = _enough(universe, rows, activities, None, n, part)[:n]
        return Drawn(rows[kept], (rng.random(n) < expit(log_odds[kept])).astype(np.int8))
    label = (rng.random(len(rows)) < expit(log_odds)).astype(np.int8)
    kept = _enough(universe, rows, activities, label, n, part, prevalence)
    chosen, rest = _exactly(label[kept], log_odds[kept], n, prevalence, rng)
    return Drawn(rows[kept[chosen]], label[kept[chosen]], shift + rest)


def split_at_random(label: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw `share` of the pairs of each class, up to rounding; shape (n,), bool."""
    drawn = np.zeros(len(label), dtype=bool)
    for value in (0, 1):
        pool = np.flatnonzero(label == value)
        drawn[rng.choice(pool, round(share * len(pool)), replace=False)] = True
    return drawn


def _label_shift(config: WorldConfig, potential: np.ndarray, line: pd.Series, prior: float) -> np.ndarray:
    """Weight of each pair that makes its potential follow the label-shifted mixture; even if there is no shift."""
    reference = expit(potential / config.temperature - config.impedance_mean)
    shifted = expit(logit(prior) - line.get("label_shift", 0.0) / config.temperature)
    return shifted / prior * reference + (1 - shifted) / (1 - prior) * (1 - reference)


def _selection(log_odds: np.ndarray, weight: np.ndarray, prevalence: float) -> tuple[np.ndarray, float]:
    """Weight that selects pairs to a prevalence with each class as it is, and what it adds to the log-odds."""
    probability = expit(log_odds)
    natural = float(np.average(probability, weights=weight))
    tilt = prevalence / natural * probability + (1 - prevalence) / (1 - natural) * (1 - probability)
    return tilt, float(logit(prevalence) - logit(natural))


def _activities(
    config: WorldConfig, universe: Universe, members: np.ndarray, line: pd.Series, threshold: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield which elements are active, shape (n_elements,), bool; more each time."""
    factors = [name for name in line.index if name.startswith("trace_factor")]
    elements = universe.elements
    traces = sum(line[name] * elements[name.replace("_factor", "")].to_numpy() for name in factors)
    score = config.selection * (traces + line["nuisance_factor"] * elements["nuisance"].to_numpy())
    is_enhancer = elements["kind"].to_numpy() == "enhancer"
    shares = np.array([config.active_enhancers, config.active_promoters])
    while True:
        active = np.zeros(len(threshold), dtype=bool)
        for kind, share in zip((is_enhancer, ~is_enhancer), shares.tolist(), strict=True):
            here = kind & members
            active[here] = threshold[here] < _active_probability(score[here], min(ACTIVE_MAX, share))
        yield active
        if shares.min() >= ACTIVE_MAX:
            return
        shares = shares * GROWTH


def _active_probability(score: np.ndarray, share: float) -> np.ndarray:
    """Return the logistic probability of being active, its level set so that `share` of the elements are."""
    level = brentq(lambda a: float(expit(a + score).mean()) - share, -30.0, 30.0)
    return expit(level + score)


def _enough(
    universe: Universe,
    rows: np.ndarray,
    activities: Iterator[np.ndarray],
    label: np.ndarray | None,
    n: int,
    part: str,
    prevalence: float = 0.0,
) -> np.ndarray:
    """Return which pairs have active elements, in the first activity with as many (of each class) as needed."""
    enhancer, promoter = (universe.pairs[kind].to_numpy()[rows] for kind in ("enhancer", "promoter"))
    kept = np.empty(0, dtype=np.int64)
    wanted = np.array([n - round(n * prevalence), round(n * prevalence)])
    for active in activities:
        kept = np.flatnonzero(active[enhancer] & active[promoter])
        classes = np.zeros(len(kept), dtype=np.int64) if label is None else label[kept]
        if (np.bincount(classes, minlength=2) >= wanted).all():
            return kept
    if label is None:
        raise ConfigError(
            f"the {part} chromosomes hold {len(kept)} pairs for a cell line that needs {n}; give them more loci"
        )
    negatives, positives = np.bincount(label[kept], minlength=2).tolist()
    raise ConfigError(
        f"the {part} chromosomes hold {positives:,} positives and {negatives:,} negatives for a cell line that needs "
        f"{wanted[1]:,} and {wanted[0]:,} (prevalence {prevalence}); give them more loci"
    )


def _exactly(
    label: np.ndarray, log_odds: np.ndarray, n: int, prevalence: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Choose `n` pairs of which the rounded fraction is positive, from as few of the first as hold them.

    Returns
    -------
    chosen : ndarray, shape (n,), int64
        Ascending; drawn evenly from each class.
    shift : float
        What the choice adds to the log-odds.
    """
    wanted = (n - round(n * prevalence), round(n * prevalence))
    pools = [np.flatnonzero(label == value) for value in (0, 1)]
    end = 1 + max(pool[size - 1] for pool, size in zip(pools, wanted, strict=True))
    pools = [pool[pool < end] for pool in pools]
    drawn = [rng.choice(pool, size, replace=False) for pool, size in zip(pools, wanted, strict=True)]
    return np.sort(np.concatenate(drawn)), float(logit(wanted[1] / n) - logit(expit(log_odds[:end]).mean()))
