"""The motif grammar: which motifs are inserted and how they make the true intrinsic potential U_I.

This module does NOT know cell lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from episode.errors import ConfigError
from episode.simulate.config import WorldConfig
from episode.simulate.elements import Slots, Universe

if TYPE_CHECKING:
    from episode.encode.motifs import MotifBank

__all__ = ["Grammar", "Rule", "draw_grammar", "draw_motifs"]

CROSS_SCORE = 0.55
"""Two inserted motifs must not score more than this fraction of their best on each other's consensus."""


@dataclass(frozen=True)
class Rule:
    """A term of U_I; a main effect leaves one side None. Slots count within their own side."""

    enhancer: int | None
    promoter: int | None
    weight: float
    convergent: bool = False
    """Asks for a forward site in the enhancer and a reverse one in the promoter, after the mirror rule."""


@dataclass(frozen=True)
class Grammar:
    """U_I = offset + sum of the weights of the rules that hold."""

    rules: tuple[Rule, ...]
    offset: float

    def potential(self, universe: Universe, slots: Slots) -> np.ndarray:
        """Return the true U_I of every pair of the universe, shape (n_pairs,), float64."""
        return self.offset + _terms(self.rules, universe, slots) @ np.array([r.weight for r in self.rules])


def draw_grammar(config: WorldConfig, universe: Universe, slots: Slots, rng: np.random.Generator) -> Grammar:
    """Draw rules and weights so that no term dominates and U_I has the wished standard deviation and prevalence.

    Every term gets a weight of random size within 25 % of the same contribution to the SD of U_I; the rules
    together weigh as much as the main effects. One main effect and one rule in three lower U_I.
    """
    n = config.grammar_motifs
    mains = [Rule(int(i), None, 1.0) for i in rng.permutation(n)[: config.main_effects]]
    mains += [Rule(None, int(j), 1.0) for j in rng.permutation(n)[: config.main_effects]]
    shift = rng.permutation(n)
    order = [(i, int(shift[(i + k) % n])) for k in range(n) for i in rng.permutation(n).tolist()]
    pairs = [Rule(i, j, 1.0, convergent=k < config.oriented_rules) for k, (i, j) in enumerate(order[: config.rules])]
    rules = (*mains, *pairs)
    terms = _terms(rules, universe, slots)
    signs = [-1.0 if k % 3 == 2 else 1.0 for group in (mains, pairs) for k in range(len(group))]
    weights = np.array(signs) * rng.uniform(0.8, 1.25, len(rules)) / terms.std(axis=0)
    weights[: len(mains)] *= np.sqrt(max(len(pairs), 1) / max(len(mains), 1))
    raw = terms @ weights
    scale = config.potential_sd * config.temperature / raw.std()
    scaled = (raw - raw.mean()) * scale / config.temperature

    def surplus(level: float) -> float:
        return float(expit(scaled + level).mean()) - config.share_positive

    level = brentq(surplus, -20.0, 20.0)
    offset = config.temperature * (config.impedance_mean + level) - raw.mean() * scale
    final = tuple(replace(r, weight=float(w)) for r, w in zip(rules, weights * scale, strict=True))
    return Grammar(final, float(offset))


def _terms(rules: tuple[Rule, ...], universe: Universe, slots: Slots) -> np.ndarray:
    """Return which rule holds in which pair, shape (n_pairs, n_rules), bool."""
    pairs = universe.pairs
    orientation = np.where(pairs["mirrored"].to_numpy(), -1, 1).astype(np.int8)[:, None]
    enhancer = universe.sites[pairs["enhancer"].to_numpy(), slots.enhancer] * orientation
    promoter = universe.sites[pairs["promoter"].to_numpy(), slots.promoter] * orientation
    held = np.ones((len(pairs), len(rules)), dtype=bool)
    for k, rule in enumerate(rules):
        for sites, slot, strand in ((enhancer, rule.enhancer, 1), (promoter, rule.promoter, -1)):
            if slot is not None:
                held[:, k] &= (sites[:, slot] == strand) if rule.convergent else (sites[:, slot] != 0)
    return held


def draw_motifs(config: WorldConfig, bank: MotifBank, n: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw `n` motifs of the bank that are sharp, of fitting length, not palindromic and unlike each other.

    Returns
    -------
    tuple of int
        Rows of the bank.

    Raises
    ------
    ConfigError
        If the bank has too few such motifs.
    """
    low, high = config.motif_length
    log_odds = [bank.log_odds(i).astype(np.float64) for i in range(len(bank.names))]
    fit = [
        i
        for i, (scores, p) in enumerate(zip(log_odds, bank.probabilities, strict=True))
        if low <= len(p) <= high and float((p * scores).sum()) >= config.min_information
    ]
    chosen: list[int] = []
    for i in rng.permutation(fit).tolist():
        one = log_odds[i]
        if _cross_score(one, one[::-1, ::-1]) > CROSS_SCORE:
            continue
        if all(_alike(one, log_odds[j]) <= CROSS_SCORE for j in chosen):
            chosen.append(i)
            if len(chosen) == n:
                return tuple(chosen)
    raise ConfigError(f"the motif bank has only {len(chosen)} distinct motifs fit to be inserted; {n} are needed")


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest fraction of its best score that either motif reaches on the other's consensus."""
    return max(score for other in (b, b[::-1, ::-1]) for score in (_cross_score(a, other), _cross_score(other, a)))


def _cross_score(a: np.ndarray, b: np.ndarray) -> float:
    """Return the best score of `a` over all offsets on the consensus of `b`, as a fraction of a's best.

    Columns of `a` that hang over the consensus count 0, as background does on average or better.
    """
    consensus = b.argmax(axis=1)
    best = -np.inf
    for offset in range(1 - len(a), len(b)):
        columns = np.arange(max(0, -offset), min(len(a), len(b) - offset))
        best = max(best, float(a[columns, consensus[columns + offset]].sum()))
    return best / float(a.max(axis=1).sum())
